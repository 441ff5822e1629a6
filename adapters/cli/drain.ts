/**
 * `atlas drain`: drains one node, or all that falls under a prefix.
 *
 * Takes a node's name or a prefix. Asks only the node at `--url`, which passes the request on over
 * its links, so that the token goes to no address that a registry names. Gives each node's answer.
 */
import { AtlasError } from "../../src/errors.ts";
import { DEFAULT_TIMEOUT_MS } from "../../src/limits.ts";
import { nodeName } from "../../src/model/call_path.ts";
import { baseUrls } from "../client/options.ts";
import { createRequester } from "../client/retrying_requester.ts";
import { errorOf } from "../http_wire/errors.ts";
import { type Output, printable } from "./output.ts";
import { type CommandLine, prefixOf, UsageError } from "./usage.ts";

/** One node's answer, as the route gives it. */
interface DrainReply {
  readonly region: string;
  readonly node: string;
  readonly error?: object;
}

/** A whole node, which then leaves, or what falls under a prefix. */
export async function drain(line: CommandLine): Promise<Output> {
  const name = line.operands[0] as string;
  if (name.startsWith("rrp:")) return await handOver(line, prefixOf(name));
  if (line.forMs !== undefined) {
    throw new UsageError("--for goes with a prefix: a node that drains leaves for good");
  }
  const { nodes } = await ask(line, { node: name });
  return outputOf(nodes, nodes.length === 1 ? nodes[0] : { nodes }, "is draining");
}

/** Every live node that a prefix names releases what falls under it, and goes on serving. */
async function handOver(line: CommandLine, prefix: string): Promise<Output> {
  const what: Record<string, string> = { prefix };
  if (line.forMs !== undefined) what["forMs"] = String(line.forMs);
  const { nodes } = await ask(line, what);
  return outputOf(nodes, { nodes }, `hands over ${prefix}`);
}

async function ask(
  line: CommandLine,
  what: Record<string, string>,
): Promise<{ readonly nodes: readonly DrainReply[] }> {
  const request = createRequester({ urls: baseUrls(line.urls), token: line.token, fetch });
  const timeoutMs = line.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  const path = `/v1/drain?${new URLSearchParams(what)}`;
  const answer = await request({ method: "POST", path, timeoutMs }) as { nodes?: unknown } | null;
  if (Array.isArray(answer?.nodes)) return { nodes: answer.nodes };
  throw new AtlasError("unavailable", "the node did not say which nodes drain", {
    retryable: false,
    maybeExecuted: true,
  });
}

/** @param done what a node does that has agreed */
function outputOf(nodes: readonly DrainReply[], document: unknown, done: string): Output {
  const failures: AtlasError[] = [];
  const lines = nodes.map((note) => {
    const name = printable(nodeName(note));
    if (note.error === undefined) return `${name} ${done}\n`;
    const { code, message, maybeExecuted } = errorOf(0, note);
    failures.push(new AtlasError(code, `${name}: ${message}`, { maybeExecuted }));
    return `${name} does not: ${code}\n`;
  });
  return { document, text: lines.join(""), failures };
}
