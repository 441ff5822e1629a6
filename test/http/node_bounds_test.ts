/**
 * How much one node takes at once, on each runtime: the rows of docs/limits.md about calls and
 * sockets.
 */
import { afterEach, expect, test } from "vitest";
import { jsonCodec } from "../../adapters/http_wire/socket_codec.ts";
import { systemContext } from "../../adapters/system/async_context.ts";
import { systemClock, systemRandom } from "../../adapters/system/clock.ts";
import { memoryStore } from "../../adapters/store/memory.ts";
import { inProcessNetwork, inProcessTransport } from "../../adapters/transport/in_process.ts";
import type { AtlasNode } from "../../src/api/node.ts";
import { defineApp } from "../../src/api/app.ts";
import { createNode } from "../../src/node/node.ts";
import { MAX_CALLS, MAX_LINK_CALLS, MAX_MAILBOX, MAX_SOCKETS } from "../../src/limits.ts";
import type { Socket } from "../../src/ports/runtime.ts";
import type { Store } from "../../src/ports/store.ts";
import { Resource } from "../../src/api/resource.ts";

let running = 0;

class Busy extends Resource {
  here(): void {}

  /** Calls run until the node closes. */
  async hang(): Promise<void> {
    running++;
    await new Promise<void>((resolve) => this.signal.addEventListener("abort", () => resolve()));
  }
}

/** Between the nodes of one test. */
let network = inProcessNetwork();
const { stackTraceLimit } = Error;
const nodes: AtlasNode[] = [];
afterEach(async () => {
  await Promise.all(nodes.splice(0).map((node) => node.close({ drainMs: 0 })));
  Error.stackTraceLimit = stackTraceLimit;
  network = inProcessNetwork();
});

async function start(store: Store = memoryStore(), name = "bounded"): Promise<AtlasNode> {
  const options = {
    region: "local",
    node: name,
    store,
    transport: inProcessTransport(network),
    clock: systemClock,
    random: systemRandom,
    context: systemContext,
  };
  const node = await createNode(defineApp({ resources: { busy: Busy } }), options) as AtlasNode;
  nodes.push(node);
  return node;
}

/** Makes calls that hang; their outcome doesn't matter. */
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

test("a node has 262,144 running calls, and refuses the next as overloaded", async () => {
  // Each of them fails in the end; the stacks of so many errors take most of the time.
  Error.stackTraceLimit = 0;
  // The calls wait for the store to answer their claims.
  const store = Object.assign(memoryStore(), { claim: () => new Promise(() => {}) });
  const one = await start(store);
  for (let i = 0; i < MAX_CALLS / MAX_MAILBOX; i++) hang(one, `a-${i}`, MAX_MAILBOX);
  const next = one.call("busy", "more", "hang", [], { timeoutMs: 300_000 });
  await expect(next).rejects.toMatchObject({ code: "overloaded", maybeExecuted: false });
}, 60_000);

test("a link has 65,536 running calls, and refuses the next as overloaded", async () => {
  Error.stackTraceLimit = 0;
  const store = memoryStore();
  const owner = await start(store, "owner");
  const caller = await start(store, "caller");
  for (let i = 0; i <= MAX_LINK_CALLS / MAX_MAILBOX; i++) {
    await owner.call("busy", `a-${i}`, "here", []);
  }
  await caller.call("busy", "a-0", "here", []);
  for (let i = 0; i < MAX_LINK_CALLS / MAX_MAILBOX; i++) hang(caller, `a-${i}`, MAX_MAILBOX);
  const next = caller.call("busy", `a-${MAX_LINK_CALLS / MAX_MAILBOX}`, "here", []);
  await expect(next).rejects.toMatchObject({ code: "overloaded", maybeExecuted: false });
}, 60_000);
