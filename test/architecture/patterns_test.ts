/**
 * Every regular expression of the product takes at most linear time. Patterns that only read
 * settings of the operator are excepted by name; each rule finds a planted fault.
 */
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { builtIn, patternsOf, troubleOf } from "./patterns.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** Files whose patterns read what no outsider gives. */
const TRUSTED = [
  "adapters/app_loader/app_files.ts: IMPORTS reads the app's own files",
  "adapters/store/redact_url.ts: NEXT, HEAD, SECRET and NO_PORT read the registry's URL",
  "adapters/store/regional/url.ts: ENTRY reads the registry's URL",
].map((line) => line.slice(0, line.indexOf(":")));

/** Patterns made at run time, and why they are linear. */
const BUILT: Record<string, string> = {
  // Alternatives of fixed words between ^ and $; the code of an error of this machine.
  "adapters/client/request.ts": "RegExp(",
  // A secret of the registry's URL, every sign escaped: no repetition in it.
  "adapters/store/redact_url.ts": 'RegExp(pattern, "g"), "***");',
  // Begins at a line's start with a fixed name, and ends within that line.
  "adapters/store/redis/replies.ts":
    'RegExp(`^${name}:(.*?)\\\\r?$`, "m").exec(String(info))?.[1] ?? "";',
};

function sources(): { path: string; source: string }[] {
  const paths = ["mod.ts", "cli.ts", "node.ts", "testing.ts"];
  for (const folder of ["src", "adapters"]) {
    for (const entry of readdirSync(ROOT + folder, { recursive: true }) as string[]) {
      if (entry.endsWith(".ts")) paths.push(`${folder}/${entry.replaceAll("\\", "/")}`);
    }
  }
  return paths.map((path) => ({ path, source: readFileSync(ROOT + path, "utf8") }));
}

test("every pattern takes at most linear time", () => {
  const all = sources().flatMap(({ path, source }) =>
    patternsOf(source).map((pattern) => ({ path, ...pattern }))
  );
  expect(all.length).toBeGreaterThan(100);
  const slow = all.filter(({ path }) => !TRUSTED.includes(path)).flatMap((it) => {
    const trouble = troubleOf(it.body, it.flags);
    return trouble === null ? [] : [`${it.path}:${it.line} /${it.body}/${it.flags}: ${trouble}`];
  });
  expect(slow).toEqual([]);
});

test("no pattern is built from text at run time except the listed ones", () => {
  const built = sources().flatMap(({ path, source }) =>
    builtIn(source).map((text) => [path, text])
  );
  expect(built).toEqual(Object.entries(BUILT));
});

describe("each slow pattern is found", () => {
  const SLOW: Record<string, string> = {
    "^bearer +(.+)$": "two repetitions that can share characters",
    "^(.+)(.+)x": "two repetitions side by side",
    "^\\s*x?\\s*$": "two around something optional",
    "^(?:a|b)*[bc]*$": "of a group and of a set",
    "=+$": "a search for a repetition at the end",
    "[?#].*$": "a search whose start can stand in the repetition",
    "x*y": "a search for a repetition before a letter",
    "^(a+)+$": "a repetition within a repetition",
    "^(?:a*|b)*$": "a repetition of a repeated alternative",
    "^(?:a|ab|b)*c": "overlapping ways through a repetition",
    "([\"']).*\\1": "a reference back",
    "(?=.*a)b": "a repetition in a look ahead",
    "^a(?:b+[bc])?[^x]*d": "within something optional",
  };
  for (const [pattern, name] of Object.entries(SLOW)) {
    test(name, () => expect(troubleOf(pattern)).not.toBeNull());
  }

  test("in source", () => {
    const source = "const a = 1 / 2; // /x+$/\nconst ok = /^a+$/i, slow = text.split(/[/=]+$/);";
    expect(patternsOf(source)).toEqual([
      { line: 2, body: "^a+$", flags: "i" },
      { line: 2, body: "[/=]+$", flags: "" },
    ]);
    expect(builtIn("const p = new RegExp(text)")).toEqual(["RegExp(text)"]);
  });
});

test("linear patterns pass", () => {
  const fine = [
    "^[a-z]+:\\d+$",
    "^(?!ff)[0-9a-f]{2}(?:-[!-~]*)?$",
    "\\s+",
    "\\/\\/[^/]*@",
    "^(\\d{1,9})(ms|s|)$",
    "%(?:21|24)",
    "^[^/]+\\/[^/]+$",
    "^(?:x:)?(.*)$",
  ];
  for (const pattern of fine) expect([pattern, troubleOf(pattern, "s")]).toEqual([pattern, null]);
});
