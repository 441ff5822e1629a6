/** Each row of docs/guarantees.md names tests that prove it, and they are there. */
import { existsSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";

const page: string = readFileSync(new URL("../../docs/guarantees.md", import.meta.url), "utf8");
const rows: string[][] = page.split("\n")
  .filter((line) => line.startsWith("| ") && !/^\| (?:registry|promise) \|/.test(line))
  .map((line) => line.split("|").slice(1, -1).map((cell) => cell.trim()));

test("each guarantee names existing tests", () => {
  expect(rows.length).toBeGreaterThan(20);
  const trouble = rows.flatMap((cells) => {
    const named = [...(cells.at(-1) ?? "").matchAll(/`([^`]+)`/g)].map(([, path]) => path ?? "");
    if (named.length === 0) return [`${cells[0]}: names no test`];
    return named
      .filter((path) => !existsSync(new URL(`../${path}`, import.meta.url)))
      .map((path) => `${cells[0]}: there is no test/${path}`);
  });
  expect(trouble).toEqual([]);
});
