/** Closing a node in the middle of calls: what callers get, and what is logged. */
import { expect, test } from "vitest";
import {
  type AtlasError,
  type AtlasNode,
  defineApp,
  type InProcessNetwork,
  inProcessTransport,
  Resource,
} from "../../mod.ts";
import { GOODBYE_WAIT_MS } from "../../src/limits.ts";
import type { Transport } from "../../src/ports/transport.ts";
import { fakeClock } from "../../testing.ts";
import { cluster, log, type TestApp, until } from "./cluster.ts";

/** A call of `x` at `node`; gives its answer, or its error. */
function send(node: AtlasNode<TestApp>, method: string, args: unknown[] = []): Promise<unknown> {
  return node.call("counters", "x", method, args).catch((error: AtlasError) => error);
}

class Stuck extends Resource {
  override onStart(): Promise<void> {
    log.push(`starting ${this.id}`);
    return new Promise(() => {});
  }
  echo(value: unknown): unknown {
    return value;
  }
}

const unavailable = (maybeExecuted: boolean) =>
  expect.objectContaining({ code: "unavailable", retryable: true, maybeExecuted });

test("running calls fail as maybe executed, waiting calls as not executed, and no turn is logged as too long", async () => {
  const made = cluster();
  const a = await made.node("a");
  const running = send(a, "wait", ["never"]);
  await until(() => log.includes("waiting never"), "it runs");
  const waiting = send(a, "add", [1]);
  await until(() => a.stats().queued === 1, "another one waits");
  await a.close({ drainMs: 1 });
  expect(await running).toEqual(unavailable(true));
  expect(await waiting).toEqual(unavailable(false));
  const logged = made.events.filter(({ fields }) => fields["key"] === "counters/x");
  expect(logged).toEqual([{
    level: "warning",
    event: "closed during a turn",
    fields: { key: "counters/x", method: "wait", traceparent: null },
  }]);
  await until(() => log.includes("aborted never"), "the turn's signal is aborted");
});

test("a caller on another node gets the same error, and may retry elsewhere at once", async () => {
  const made = cluster();
  const [a, b] = [await made.node("a"), await made.node("b")];
  await send(a, "echo");
  const running = send(b, "wait", ["never"]);
  await until(() => log.includes("waiting never"), "it runs");
  await a.close({ drainMs: 1 });
  expect(await running).toEqual(unavailable(true));
  expect(await send(b, "add", [1])).toMatchObject({ rrp: "rrp:local/b/counters/x" });
});

test("a resource that is still starting is stopped, and its callers get an error", async () => {
  const made = cluster();
  const a = await made.node("a", {}, defineApp({ resources: { stuck: Stuck } }));
  const calling = a.call("stuck", "x", "echo", [1]).catch((error: AtlasError) => error);
  await until(() => log.includes("starting x"), "it starts");
  await a.close({ drainMs: 1 });
  expect(await calling).toEqual(unavailable(false));
  const fields = { key: "stuck/x", method: null, traceparent: null };
  expect(made.events).toContainEqual({ level: "warning", event: "closed during a turn", fields });
});

test("an invalid drainMs is refused, and the node serves on", async () => {
  const made = cluster();
  const a = await made.node("a");
  for (const drainMs of [NaN, "5", -1, Infinity, null]) {
    await expect(a.close({ drainMs: drainMs as number })).rejects.toMatchObject({
      code: "bad_request",
      message: expect.stringMatching(/^drainMs is .*, it must be 0 to 300000$/),
    });
  }
  await expect(a.close({ drain: 5 } as object)).rejects.toThrow(
    'there is no option "drain"; there are: drainMs',
  );
  expect(await send(a, "add", [1])).toMatchObject({ rrp: "rrp:local/a/counters/x" });
});

/** A transport that can hold back incoming messages, and drops them if their link closes. */
function slowReader(network: InProcessNetwork): Transport & { hold(): void; read(): void } {
  const transport = inProcessTransport(network);
  let held: (() => void)[] | null = null;
  const dial = transport.dial.bind(transport);
  return Object.assign(transport, {
    async dial(peer: Parameters<Transport["dial"]>[0]) {
      const link = await dial(peer);
      const start = link.start.bind(link);
      link.start = ({ message, close }) =>
        start({
          message(tuple, body) {
            if (held) held.push(() => message(tuple, body));
            else message(tuple, body);
          },
          close(reason) {
            held = [];
            close(reason);
          },
        });
      return link;
    },
    hold: () => void (held = []),
    read() {
      const waiting = held ?? [];
      held = null;
      for (const deliver of waiting) deliver();
    },
  });
}

test("a draining node ends once its peers have read its last messages, or after a limit", async () => {
  for (const isInTime of [true, false]) {
    const [made, clock] = [cluster(), fakeClock()];
    const transport = slowReader(made.network);
    const a = await clock.run(made.node("a", { clock }));
    const b = await clock.run(made.node("b", { clock, transport }));
    await clock.run(send(a, "echo"));
    await clock.run(send(b, "echo"));
    transport.hold();
    const calling = send(b, "add", [1]);
    await clock.advance(1);
    const closing = a.close();
    await clock.advance(GOODBYE_WAIT_MS - 500);
    expect(a.state).toBe("draining");
    if (isInTime) transport.read();
    else await clock.advance(500);
    const total = { result: { total: 1 }, rrp: "rrp:local/a/counters/x" };
    expect(await clock.run(calling)).toMatchObject(isInTime ? total : unavailable(true));
    await clock.run(closing);
    expect(a.state).toBe("closed");
  }
});
