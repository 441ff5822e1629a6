/**
 * The sample of `onConflict` in the docs, run as it is printed: if another owner took over, no
 * write with an offline-marked answer is lost.
 */
import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import {
  type AtlasNode,
  createNode,
  defineApp,
  inProcessNetwork,
  inProcessTransport,
  memoryStore,
} from "../../mod.ts";
import { fakeClock } from "../../testing.ts";
import { connectionTo } from "../core/store_connection.ts";
import { Notes } from "../support/notes_sample.ts";
import { untilBy } from "../support/until.ts";

const ROOT = new URL("../../", import.meta.url);
const LEASE = { heartbeatMs: 100, leaseMs: 1_000 };

/** All samples with an `onConflict` in the docs. */
function samples(): string[] {
  const pages = readdirSync(new URL("docs/", ROOT)).filter((name) => name.endsWith(".md"));
  const texts = ["README.md", ...pages.map((name) => `docs/${name}`)]
    .map((page) => readFileSync(new URL(page, ROOT), "utf8"));
  return texts.flatMap((text) => [...text.matchAll(/```ts\n([^`]*)```/g)])
    .map(([, code = ""]) => code)
    .filter((code) => code.includes("onConflict("));
}

test("the docs have one sample, which is the one run here", () => {
  const run = readFileSync(new URL("test/support/notes_sample.ts", ROOT), "utf8");
  const [, ...lines] = run.replace("../../mod.ts", "@atlas-edge/atlas").split("\n");
  expect(samples()).toEqual([lines.join("\n")]);
});

test("all writes made without the store are merged into the winner's state", async () => {
  const clock = fakeClock();
  const app = defineApp({ resources: { notes: { class: Notes, partition: "available" } } });
  const store = memoryStore();
  const network = inProcessNetwork();
  const start = async (node: string) => {
    const connection = connectionTo(store);
    const transport = inProcessTransport(network);
    const given = {
      region: "local",
      node,
      store: connection.store,
      transport,
      lease: LEASE,
      clock,
    };
    return { connection, node: await createNode(app, given) };
  };
  const [a, b] = [await start("a"), await start("b")];
  const add = (node: AtlasNode<typeof app>, line: string) =>
    clock.run(node.call("notes", "x", "add", [line]));
  const all = async (node: AtlasNode<typeof app>) =>
    (await clock.run(node.call("notes", "x", "all", []))).result;
  await add(a.node, "first");
  a.connection.isCut = true;
  await untilBy(clock, () => a.node.state === "fenced", "the lease has lapsed");
  for (const line of ["marked1", "marked2"]) {
    expect(await add(a.node, line)).toMatchObject({ verdict: "suspect" });
  }
  await untilBy(clock, async () => {
    const { members } = await store.members();
    return members.some(({ node, state }) => node === "a" && state === "dead");
  }, "its node counts as dead");
  expect((await add(b.node, "other")).rrp).toBe("rrp:local/b/notes/x");
  // A list of the part that is in memory would look like the whole state.
  await expect(clock.run(a.node.call("notes", "x", "all", []))).rejects.toMatchObject({
    code: "unavailable",
    message: "notes/x goes on without the store: its storage can't be listed now",
  });
  a.connection.isCut = false;
  await untilBy(clock, () => a.node.stats().offlineTurnsLost === 2, "the loser is done");
  const merged = ["first", "marked1", "marked2", "other"];
  for (const { node } of [a, b]) expect(await all(node)).toEqual(merged);
  await clock.run(Promise.all([a, b].map(({ node }) => node.close())));
  await store.close();
});
