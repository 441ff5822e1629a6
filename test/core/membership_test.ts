/**
 * Covers src/registry/membership.ts: one process has each node name, and two processes with the
 * same name don't end each other.
 */
import { describe, expect, it } from "vitest";
import { memoryStore, type Store } from "../../mod.ts";
import type { MemberInfo } from "../../src/model/member.ts";
import { fakeClock } from "../../testing.ts";
import { BRISK, cluster } from "./cluster.ts";

const taken = expect.objectContaining({ code: "node_name_taken" });

/** A member that is no longer renewed, as a crash or a restored store leaves it. */
function left(node: string): MemberInfo {
  return { incarnation: `left-${node}`, region: "local", node, address: "nowhere", hosts: [] };
}

describe("a node whose name another process holds", () => {
  it("is refused while the other process renews its lease, and that process goes on serving", async () => {
    const clock = fakeClock();
    const made = cluster(memoryStore(), clock);
    const first = await made.node("same", { lease: BRISK });
    await clock.run(first.resource("counters", "x").add(1));
    const { incarnation } = first;
    for (let attempt = 0; attempt < 3; attempt++) {
      await expect(clock.run(made.node("same", { lease: BRISK }))).rejects.toEqual(taken);
    }
    expect([first.state, first.incarnation]).toEqual(["serving", incarnation]);
    expect((await clock.run(first.resource("counters", "x").add(1))).total).toBe(2);
  });

  it("waits for a member that is no longer renewed, and then gets the name", async () => {
    const clock = fakeClock();
    const store = memoryStore();
    await store.register(left("same"), { ifFree: false });
    const young = await clock.run(cluster(store, clock).node("same", { lease: BRISK }));
    expect(young.state).toBe("serving");
    const { members } = await store.members();
    expect(members.map(({ node, state }) => `${node} ${state}`).sort())
      .toEqual(["same live", "same superseded"]);
  });

  it("starts after its store was restored to a state with an earlier incarnation of it", async () => {
    const clock = fakeClock();
    const [before, after] = [memoryStore(), memoryStore()];
    await after.register(left("same"), { ifFree: false });
    let present = before;
    const store = new Proxy(before, {
      get(_target, name: keyof Store) {
        const value = present[name];
        return typeof value === "function" ? value.bind(present) : value;
      },
    });
    const one = await cluster(store, clock).node("same", { lease: BRISK });
    present = after;
    await clock.run(expect.poll(() => one.stats().lapses).toBe(1));
    await clock.run(expect.poll(() => one.state).toBe("serving"));
    expect((await clock.run(one.resource("counters", "x").add(1))).total).toBe(1);
  });

  it("joins at once if the former process has left", async () => {
    const clock = fakeClock();
    const made = cluster(memoryStore(), clock);
    await (await made.node("same", { lease: BRISK })).drain();
    expect((await made.node("same", { lease: BRISK })).state).toBe("serving");
  });
});
