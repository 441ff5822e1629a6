/**
 * `atlas listen`: writes a resource's events as lines of JSON until the socket ends. Takes a
 * client; gives the exit status.
 */
import type { ClientSockets } from "../client/client.ts";
import { toJson } from "../http_wire/json.ts";
import type { CliStreams } from "./output.ts";
import { printable } from "./table.ts";
import type { CommandLine } from "./usage.ts";

/** Writes events until the socket is closed: 0 where the resource closed it, else 1. */
export async function listen(
  { operands, after }: CommandLine,
  atlas: ClientSockets,
  streams: CliStreams,
): Promise<number> {
  const [type = "", id = ""] = operands;
  const socket = atlas.connect(type, id, {
    ...after !== undefined && { after },
    onHello: ({ seq, gap }) => {
      if (gap) streams.err(`some events up to ${seq} are lost\n`);
    },
    onEvent: ({ seq, epoch, data }) => streams.out(`${toJson({ seq, epoch, data })}\n`),
  });
  const { code, reason } = await socket.closed;
  if (code === 1000) return 0;
  streams.err(`${printable(reason) || `the socket was closed with ${code}`}\n`);
  return 1;
}
