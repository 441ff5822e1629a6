/** A market in which nodes, listeners and buyers join and leave at random, and code changes. */
import { expect, test } from "vitest";
import type { AtlasNode, Listener, Module, ModuleProxy } from "../../mod.ts";
import { type Calc, calc, type CalcApp, CallGate, market, until } from "./market.ts";

const STEPS = 120;

/** Random numbers from a seed. */
function drawsOf(seed: number): (sides: number) => number {
  let state = seed >>> 0;
  return (sides) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor(state / 2 ** 32 * sides);
  };
}

for (const seed of [1, 2, 3]) {
  test(`with random faults nothing is oversold or lost, seed ${seed}`, async () => {
    const made = market();
    const draw = drawsOf(seed);
    const nodes: AtlasNode<CalcApp>[] = [];
    const shops: { gate: CallGate; listener: Listener; capacity: number; patch: number }[] = [];
    let proxies: { node: AtlasNode<CalcApp>; proxy: ModuleProxy<Module<Calc>> }[] = [];
    const discoveries: Promise<void>[] = [];
    let names = 0;
    let done = 0;
    const calls: Promise<unknown>[] = [];
    const start = async () => {
      nodes.push(await made.node(`n${++names}`, { region: draw(2) ? "home" : "away" }));
    };
    const publish = () => {
      const [gate, capacity] = [new CallGate(), 1 + draw(4)];
      const node = nodes[draw(nodes.length)] as AtlasNode<CalcApp>;
      const listener = node.publish(calc(gate, "1.0.0"), { capacity });
      shops.push({ gate, listener, capacity, patch: 0 });
    };
    const discover = async () => {
      const node = nodes[draw(nodes.length)] as AtlasNode<CalcApp>;
      const proxy = await node.discover("calc", { version: "^1", capacity: 1 + draw(4) });
      proxies.push({ node, proxy });
    };
    const call = () => {
      const proxy = proxies[draw(proxies.length)]?.proxy;
      for (let n = draw(20); n > 0 && proxy; n--) {
        const answer = proxy.pi(1).then(
          (value) => {
            expect(value).toBe("3.1");
            done++;
          },
          // These errors come from closed nodes, and from calls that ran on one.
          (error) => {
            expect(["unavailable", "timeout"]).toContain(error.code);
          },
        );
        calls.push(answer);
      }
    };
    await start();
    await start();
    publish();
    await discover();
    for (let step = 0; step < STEPS; step++) {
      const what = draw(20);
      if (what === 0 && nodes.length < 5) await start();
      else if (what === 1 && nodes.length > 2) {
        const [gone] = nodes.splice(draw(nodes.length), 1);
        await gone?.close({ drainMs: draw(2) ? 0 : 50 });
        proxies = proxies.filter(({ node }) => node !== gone);
      } else if (what === 2 && shops.length < 9) publish();
      else if (what === 3 && shops.length > 2) {
        void shops.splice(draw(shops.length), 1)[0]?.listener.close();
      } else if (what === 4 && proxies.length < 6) discoveries.push(discover().catch(() => {}));
      else if (what === 5 && proxies.length > 1) {
        void proxies.splice(draw(proxies.length), 1)[0]?.proxy.$plb.close();
      } else if (what === 6) {
        const one = shops[draw(shops.length)];
        const next = one && calc(one.gate, `1.0.${++one.patch}`);
        try {
          if (next) one.listener.update(next);
        } catch (error) {
          expect(error).toMatchObject({ code: "unavailable" });
        }
      } else call();
      if (draw(3) === 0) await new Promise((resolve) => setTimeout(resolve, draw(4)));
      for (const { listener, gate, capacity } of shops) {
        const { granted, channels } = listener.stats();
        expect(granted).toBeLessThanOrEqual(capacity);
        expect(gate.most).toBeLessThanOrEqual(capacity);
        for (const { issued, used, outstanding, revoked, running, grant } of channels) {
          expect(issued).toBe(used + outstanding + revoked);
          expect(outstanding + running).toBeLessThanOrEqual(grant);
        }
      }
    }
    // At the end the remaining buyers get the remaining capacity, and all calls are answered.
    const node = nodes[0] as AtlasNode<CalcApp>;
    const last = node.publish(calc(new CallGate(), "1.5.0"), { capacity: 64 });
    await Promise.all([...calls, ...discoveries]);
    expect(done).toBeGreaterThan(0);
    for (const { node, proxy } of proxies) {
      const { wanted } = proxy.$plb.stats();
      if (node.state !== "serving") continue;
      await until(() => proxy.$plb.capacity() >= wanted, "an order is filled");
      await proxy.$plb.close();
    }
    await until(() => last.stats().granted === 0, "all capacity is back");
    expect(made.events.filter(({ event }) => event === "process failed")).toEqual([]);
    expect(made.events.filter(({ event }) => event === "message refused")).toEqual([]);
  });
}
