/** The examples of docs/testing.md are tests of this folder, word for word: so they run. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { ROOT } from "../../scripts/runtimes.ts";

/** What a user writes instead of our own paths. */
const NAMES: readonly (readonly [string, string])[] = [
  ['"../../testing.ts"', '"@atlas-edge/atlas/testing"'],
  ['"../../mod.ts"', '"@atlas-edge/atlas"'],
  ['"../../examples/channels/app.ts"', '"./app.ts"'],
];

const page = readFileSync(`${ROOT}docs/testing.md`, "utf8");
/** Each example: the file that it is, and the code. */
const examples = [...page.matchAll(/<!-- (\S+) -->\n```ts\n([\s\S]*?)```\n/g)];

test("each example says where it is from", () => {
  expect(examples.map(([, file]) => file)).toEqual([
    "test/sim/channels_test.ts",
    "test/sim/idle_test.ts",
  ]);
  expect(page.match(/```ts\n/g)).toHaveLength(2);
});

test.for(examples.map(([, file = "", code = ""]) => ({ file, code })))(
  "$file is what the page shows",
  ({ file, code }) => {
    let source = readFileSync(ROOT + file, "utf8");
    for (const [ours, theirs] of NAMES) source = source.replaceAll(ours, theirs);
    expect(code).toBe(source);
  },
);
