/**
 * A process that claims names on a SQLite file, for `sqlite_test.ts`.
 *
 * Takes the path, a prefix of names and their count as arguments, and starts at the
 * first byte on standard input; prints each answer as a line of JSON.
 */
import process from "node:process";
import { sqliteStore } from "../../adapters/store/sqlite/store.ts";

const [path = "", names = "", count = "0"] = process.argv.slice(2);
await new Promise((resolve) => process.stdin.once("data", resolve));
process.stdin.destroy();
// Other processes write at the same time, on a machine that may be busy.
const store = await sqliteStore(path, { timeoutMs: 60_000 });
const incarnation = crypto.randomUUID();
for (let start = 0; start < Number(count); start += 50) {
  await Promise.all(Array.from({ length: 50 }, async (_, i) => {
    const key = `${names}/${start + i}`;
    const rrp = `rrp:test/worker/${key}`;
    const opId = crypto.randomUUID();
    const { won, owner } = await store.claim({ key, rrp, incarnation, opId, expected: null });
    const answer = { key, won, incarnation: owner?.incarnation, epoch: owner?.epoch };
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  }));
}
await store.close();
