/**
 * Covers src/model/rrp.ts: pointers to resources. For every valid pointer parsing and printing are
 * inverse; everything else is `invalid_rrp`, and the error names the wrong part.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { AtlasError } from "../../src/errors.ts";
import { MAX_ID_BYTES, MAX_TOKEN_BYTES, SLOTS } from "../../src/limits.ts";
import {
  checkPrefix,
  formatRrp,
  matchRrp,
  parseKey,
  parseRrp,
  resourceKey,
  slotOf,
} from "../../src/model/rrp.ts";

const EXAMPLE = "rrp:us-east-1/hop@node-1/channels/project_0:channel_0";

const TOKEN_CHARACTERS = [
  ..."ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()+,;=:@",
];
const token = fc.string({
  unit: fc.constantFrom(...TOKEN_CHARACTERS),
  minLength: 1,
  maxLength: MAX_TOKEN_BYTES,
}).filter((text) => text !== "." && text !== "..");
const id = fc.string({ unit: "binary", minLength: 1, maxLength: 60 })
  // deno-lint-ignore no-control-regex
  .map((text) => text.replace(/[\u0000-\u001f\u007f-\u009f]/g, "x"))
  .filter((text) => text.isWellFormed() && !text.split("/").some((part) => /^\.{1,2}$/.test(part)))
  .filter((text) => encodeURIComponent(text).replaceAll("*", "%2A").length <= MAX_ID_BYTES);

describe("parsing and printing a pointer", () => {
  test("give the parts of the published example", () => {
    expect(parseRrp(EXAMPLE)).toEqual({
      region: "us-east-1",
      node: "hop@node-1",
      type: "channels",
      id: "project_0:channel_0",
    });
    expect(formatRrp(parseRrp(EXAMPLE))).toBe(EXAMPLE);
  });

  test("are inverse for everything that is valid", () => {
    fc.assert(fc.property(fc.record({ region: token, node: token, type: token, id }), (rrp) => {
      const text = formatRrp(rrp);
      expect(parseRrp(text)).toEqual(rrp);
      expect(formatRrp(parseRrp(text))).toBe(text);
      expect(text).toMatch(/^[\u0021-\u007e]+$/);
      expect(text).not.toMatch(/[{}*?[\]]/);
    }));
  });

  test("are inverse for keys, types and ids", () => {
    fc.assert(fc.property(token, id, (type, it) => {
      const key = resourceKey(type, it);
      expect(parseKey(key)).toEqual({ type, id: it });
      expect(slotOf(key)).toBeGreaterThanOrEqual(0);
      expect(slotOf(key)).toBeLessThan(SLOTS);
    }));
  });

  test("refuse any other text as invalid_rrp, or print it unchanged", () => {
    const piece = fc.oneof(
      fc.string({ unit: "binary" }),
      fc.constantFrom("/", "%2f", "%", "..", "a"),
    );
    fc.assert(fc.property(fc.array(piece).map((pieces) => "rrp:" + pieces.join("")), (text) => {
      const code = codeOf(() => expect(formatRrp(parseRrp(text))).toBe(text));
      expect(["", "invalid_rrp"]).toContain(code);
    }));
  });

  test("never give two ids the same key", () => {
    fc.assert(fc.property(id, id, (one, other) => {
      expect(resourceKey("t", one) === resourceKey("t", other)).toBe(one === other);
    }));
    expect(resourceKey("t", "a/b")).toBe("t/a%2Fb");
    expect(resourceKey("t", "a%2Fb")).toBe("t/a%252Fb");
  });
});

const HOSTILE: [name: string, text: unknown, part: string][] = [
  ["not text", 7, "rrp"],
  ["another scheme", "http://a/b/c/d", "rrp"],
  ["too few parts", "rrp:a/b/c", "rrp"],
  ["too many parts", "rrp:a/b/c/d/e", "rrp"],
  ["an empty region", "rrp:/b/c/d", "region"],
  ["a space in the node", "rrp:a/b b/c/d", "node"],
  ["a glob in the type", "rrp:a/b/c*/d", "type"],
  ["a hash tag in the type", "rrp:a/b/{c}/d", "type"],
  ["a parent as the node", "rrp:a/../c/d", "node"],
  ["letters beyond ASCII in the region", "rrp:ä/b/c/d", "region"],
  ["a region over its length", `rrp:${"a".repeat(MAX_TOKEN_BYTES + 1)}/b/c/d`, "region"],
  ["an empty id", "rrp:a/b/c/", "id"],
  ["a parent as the id", "rrp:a/b/c/..", "id"],
  ["a parent within the id", "rrp:a/b/c/x%2F..%2Fy", "id"],
  ["braces unencoded", "rrp:a/b/c/{}", "id"],
  ["a line break", "rrp:a/b/c/x%0D%0Ay", "id"],
  ["NUL", "rrp:a/b/c/x%00", "id"],
  ["a raw control character", "rrp:a/b/c/x\u0000", "id"],
  ["invalid UTF-8", "rrp:a/b/c/%FF%FE", "id"],
  ["a surrogate alone, as UTF-8", "rrp:a/b/c/%ED%A0%80", "id"],
  ["half an escape", "rrp:a/b/c/%4", "id"],
  ["a needless escape", "rrp:a/b/c/%61", "id"],
  ["a lower-case escape", "rrp:a/b/c/%2fx", "id"],
  ["a raw surrogate", "rrp:a/b/c/\ud800", "id"],
  ["an id of 1 MiB", `rrp:a/b/c/${"x".repeat(1_048_576)}`, "id"],
];

describe("an invalid pointer is refused by the name of its part", () => {
  for (const [name, text, part] of HOSTILE) {
    test(`with ${name}`, () => {
      expect(codeOf(() => parseRrp(text as string))).toBe("invalid_rrp");
      expect(() => parseRrp(text as string)).toThrow(new RegExp(`^${part} `));
      expect(messageOf(() => parseRrp(text as string)).length).toBeLessThan(300);
    });
  }

  const IDS = [
    "",
    "..",
    ".",
    "a/../b",
    "a\r\nb",
    "\u0000",
    "\ud800",
    "ä".repeat(129),
    "x".repeat(257),
  ];
  for (const bad of IDS) {
    test(`with the id ${JSON.stringify(bad.slice(0, 12))} of ${bad.length} characters`, () => {
      expect(codeOf(() => resourceKey("t", bad))).toBe("invalid_rrp");
      expect(codeOf(() => formatRrp({ region: "r", node: "n", type: "t", id: bad }))).toBe(
        "invalid_rrp",
      );
    });
  }

  test("with a key that isn't canonical", () => {
    for (const key of ["", "t", "t/", "/x", "t/%61", "t/a/b", "t*/x", "t/x%"]) {
      expect(codeOf(() => parseKey(key))).toBe("invalid_rrp");
    }
  });

  test("(an id at the length limit is accepted)", () => {
    expect(resourceKey("t", "x".repeat(MAX_ID_BYTES))).toHaveLength(MAX_ID_BYTES + 2);
    expect(parseRrp(`rrp:a/b/c/${"%7B".repeat(85)}x`).id).toBe("{".repeat(85) + "x");
  });
});

describe("a prefix", () => {
  test("matches everything below it, and nothing else", () => {
    for (const prefix of ["rrp:", "rrp:us-east-1/", "rrp:us-east-1/hop@node-1/", EXAMPLE]) {
      expect(matchRrp(prefix, EXAMPLE)).toBe(true);
      expect(matchRrp(prefix, parseRrp(EXAMPLE))).toBe(true);
    }
    expect(matchRrp("rrp:us-east-1/hop@node-1/channels/", EXAMPLE)).toBe(true);
    expect(matchRrp("rrp:us-east-2/", EXAMPLE)).toBe(false);
    expect(matchRrp("rrp:us-east-1/hop@node-1/channels/project_0:channel", EXAMPLE)).toBe(false);
  });

  test("is refused if it ends in the middle of a part", () => {
    for (
      const bad of [
        "",
        "us/",
        "rrp:us",
        "rrp:us/n",
        "rrp:us/n/t",
        "rrp:a/b/c/d/",
        "rrp://",
        "rrp:*/",
      ]
    ) {
      expect(codeOf(() => checkPrefix(bad))).toBe("invalid_rrp");
    }
  });
});

function thrown(run: () => unknown): AtlasError | null {
  try {
    run();
    return null;
  } catch (error) {
    if (error instanceof AtlasError) return error;
    throw error;
  }
}

function codeOf(run: () => unknown): string {
  return thrown(run)?.code ?? "";
}

function messageOf(run: () => unknown): string {
  return thrown(run)?.message ?? "";
}
