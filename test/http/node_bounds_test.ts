/** How much one node takes at once, on each runtime: the rows of docs/limits.md about calls and sockets. */
import { afterEach, expect, test } from "vitest";
import { jsonCodec } from "../../adapters/http/socket_codec.ts";
import { systemClock, systemRandom } from "../../adapters/runtime/system.ts";
import { memoryStore } from "../../adapters/store/memory.ts";
import { inProcessTransport } from "../../adapters/transport/in_process.ts";
import type { AtlasNode } from "../../src/api.ts";
import { defineApp } from "../../src/app.ts";
import { createNode } from "../../src/atlas.ts";
import { MAX_MAILBOX, MAX_SOCKETS } from "../../src/limits.ts";
import type { Socket } from "../../src/ports/runtime.ts";
import { Resource } from "../../src/resource/resource.ts";

let running = 0;

class Busy extends Resource {
  /** Until the node closes. */
  async hang(): Promise<void> {
    running++;
    await new Promise<void>((resolve) => this.signal.addEventListener("abort", () => resolve()));
  }
}

let node: AtlasNode | null = null;
afterEach(async () => {
  await node?.close({ drainMs: 0 });
  node = null;
});

async function start(): Promise<AtlasNode> {
  const options = {
    region: "local",
    node: "bounded",
    store: memoryStore(),
    transport: inProcessTransport(),
    clock: systemClock,
    random: systemRandom,
  };
  return node = await createNode(defineApp({ resources: { busy: Busy } }), options) as AtlasNode;
}

/** Calls that hang; how they end is nobody's business here. */
function hang(on: AtlasNode, id: string, count: number): void {
  for (let i = 0; i < count; i++) {
    on.call("busy", id, "hang", [], { timeoutMs: 300_000 }).catch(() => {});
  }
}

test("a resource has 1,024 messages waiting, and refuses the next as overloaded", async () => {
  const one = await start();
  hang(one, "a", 1);
  await expect.poll(() => running).toBe(1);
  hang(one, "a", MAX_MAILBOX);
  const next = one.call("busy", "a", "hang", [], { timeoutMs: 300_000 });
  await expect(next).rejects.toMatchObject({ code: "overloaded", maybeExecuted: false });
});

test("a node has 32,768 client sockets, and refuses the next as overloaded", async () => {
  const one = await start();
  const socket: Socket = { send() {}, buffered: () => 0, close() {} };
  for (let i = 0; i < MAX_SOCKETS; i++) {
    one.accept("busy", `a-${i}`, { codec: jsonCodec }).open(socket);
  }
  expect(() => one.accept("busy", "more", { codec: jsonCodec })).toThrow(
    expect.objectContaining({ code: "overloaded" }),
  );
});
