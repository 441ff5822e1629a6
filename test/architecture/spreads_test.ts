/**
 * No array of unknown length is spread into a function's arguments, of which a runtime's stack
 * holds about a hundred thousand.
 */
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { codeOf } from "./code.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** Where it is done, and why there are few. */
const KNOWN: readonly [call: string, why: string][] = [
  ["adapters/http_wire/json.ts: fromCharCode(", "8,192 bytes at a time"],
  ["adapters/app_loader/app_files.ts: push(", "what one file of the app imports"],
  ["adapters/config/environment.ts: min(", "lines of a setting"],
  ["adapters/server/served_node.ts: accept(", "the parameters of a method"],
  ["adapters/store/sqlite/ownership.ts: run(", "three values of each of at most 64 rows"],
  ["src/api/app.ts: assign({}, ", "the prefixes that the app's author wrote"],
  ["src/sockets/subscription.ts: max(", "at most MAX_JOINS sockets"],
  ["src/sockets/subscription.ts: min(", "at most MAX_JOINS sockets"],
  ["src/sockets/subscription.ts: min(", "at most MAX_JOINS sockets"],
  ["src/lambda/sell/channel.ts: apply(", "arguments, counted by checkArguments"],
  ["src/model/value.ts: fromCharCode(", "8,192 bytes at a time"],
  ["src/resource/activation.ts: apply(", "arguments, counted by Call.arguments"],
];

/** Calls with `...` among their arguments, and `apply`, as `name(`. */
function spreadsOf(source: string): string[] {
  const code = codeOf(source);
  const found = code.matchAll(
    /\.(\w+\((?:(?:[^()[\]{}]|\{\})*, ?)?)\.\.\.(?!\w+\??: )|\.(apply\()/g,
  );
  return Array.from(found, ([, spread, apply]) => (spread ?? apply) as string);
}

test("arrays from outside are never spread as arguments", () => {
  const found = ["src", "adapters"].flatMap((folder) =>
    (readdirSync(ROOT + folder, { recursive: true }) as string[]).filter((it) => it.endsWith(".ts"))
      .map((entry) => `${folder}/${entry.replaceAll("\\", "/")}`)
  ).flatMap((path) =>
    spreadsOf(readFileSync(ROOT + path, "utf8")).map((call) => `${path}: ${call}`)
  );
  expect(found.sort()).toEqual(KNOWN.map(([call]) => call).sort());
});

test("a planted spread is found", () => {
  expect(spreadsOf("all.push(...more); Math.max(0, ...sizes); f.apply(this, args);")).toEqual([
    "push(",
    "max(0, ",
    "apply(",
  ]);
  expect(spreadsOf("const all = [...one, ...other]; type F = (...args: unknown[]) => void;"))
    .toEqual([]);
});
