/**
 * Covers src/links/links.ts: links that break while calls are on them. A request that was certainly
 * not read is sent again.
 */
import { expect, it } from "vitest";
import { inProcessTransport } from "../../mod.ts";
import type { Link, LinkHandlers, Transport } from "../../src/ports/transport.ts";
import { type Cluster, cluster } from "./cluster.ts";

/** The first link of this transport delivers nothing, and breaks as soon as something is sent. */
function brittle(made: Cluster, isUnread: boolean): Transport {
  const transport = inProcessTransport(made.network);
  let isFirst = true;
  return {
    address: transport.address,
    open: (self, accept) => transport.open(self, accept),
    close: () => transport.close(),
    async dial(peer) {
      const link = await transport.dial(peer);
      if (!isFirst) return link;
      isFirst = false;
      return breaking(link, isUnread);
    },
  };
}

function breaking(link: Link, isUnread: boolean): Link {
  let handlers: LinkHandlers | null = null;
  link.start({ message: () => {}, close: () => {} });
  return {
    peer: link.peer,
    start: (given) => void (handlers = given),
    send() {
      queueMicrotask(() => {
        link.close("it breaks");
        handlers?.close("it breaks", isUnread);
        handlers = null;
      });
      return true;
    },
    close: (reason) => link.close(reason),
  };
}

it.each([true, false])(
  "a call on a link that breaks is sent again only if it was certainly not read (unread: %s)",
  async (isUnread) => {
    const made = cluster();
    const owner = await made.node("owner");
    await owner.call("counters", "x", "add", [1]);
    const caller = await made.node("caller", { transport: brittle(made, isUnread) });
    const call = caller.call("counters", "x", "add", [1]);
    if (isUnread) expect(await call).toMatchObject({ result: { total: 2 } });
    else await expect(call).rejects.toMatchObject({ code: "unavailable", maybeExecuted: true });
    const { result } = await owner.call("counters", "x", "total", []);
    expect(result, "never twice").toBe(isUnread ? 2 : 1);
  },
);
