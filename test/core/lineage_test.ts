/**
 * Covers src/registry/lineage.ts: a store that was replaced by a copy; verdicts of lookups and
 * metrics until claims reopen.
 */
import { afterEach, expect, test } from "vitest";
import {
  type AtlasNode,
  createNode,
  defineApp,
  inProcessNetwork,
  inProcessTransport,
  memoryStore,
  Resource,
  type Store,
} from "../../mod.ts";
import type { Lineage } from "../../src/ports/store.ts";

class Note extends Resource {
  async write(text: string): Promise<void> {
    await this.storage.put("text", text);
  }
}

const app = defineApp({ resources: { notes: Note } });

let node: AtlasNode<typeof app>;
afterEach(() => node.close({ drainMs: 100 }));

/** A store whose answers name the lineage that `present` gives. */
function replaceable(present: () => Lineage): Store {
  const store = memoryStore();
  const only = { id: "", term: 0 };
  const replaced: Partial<Store> = {
    register: async (member, { ifFree }) => ({
      ...await store.register(member, { ifFree }),
      lineage: present(),
    }),
    renew: async (incarnation, seq, watch) => ({
      ...await store.renew(incarnation, seq, watch),
      lineage: present(),
    }),
    members: async () => ({ ...await store.members(), lineage: present().id }),
    claim: ({ lineage: _, ...claim }) => store.claim(claim),
    reassert: (tenures) => store.reassert(tenures, only),
    commit: ({ lineage: _, ...commit }) => store.commit(commit),
  };
  return new Proxy(store, {
    get(_, name: keyof Store) {
      const found = replaced[name] ?? store[name];
      return typeof found === "function" ? found.bind(store) : found;
    },
  });
}

test("lookups in quarantine and failovers are counted", async () => {
  let present: Lineage = { id: "first", term: 0, settled: true };
  node = await createNode(app, {
    region: "test",
    node: "one",
    store: replaceable(() => present),
    transport: inProcessTransport(inProcessNetwork()),
  });
  await node.resource("notes", "mine").write("kept");
  expect((await node.lookup("notes", "nobody")).verdict).toBe("unowned");
  expect(node.stats()).toMatchObject({ failovers: 0, quarantined: 0 });

  present = { id: "second", term: 1, settled: false };
  expect((await node.lookup("notes", "nobody")).verdict).toBe("quarantine");
  const confirmed = node.lookup("notes", "nobody", { require: "confirmed" });
  await expect(confirmed).rejects.toMatchObject({ code: "unavailable" });
  expect(node.stats()).toMatchObject({ failovers: 1, quarantined: 2, lostTurns: 0 });

  present = { ...present, settled: true };
  expect((await node.lookup("notes", "nobody")).verdict).toBe("unowned");
  await node.resource("notes", "mine").write("again");
  expect(node.stats()).toMatchObject({ failovers: 1, quarantined: 2, lostTurns: 0 });
});
