/** Covers src/errors.ts: errors have the same code on both sides of the wire. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  AtlasError,
  ERROR_CODES,
  type ErrorCode,
  fromWireError,
  isAtlasError,
  messageOf,
  stackOf,
  toAtlasError,
  toWireError,
} from "../../src/errors.ts";

const CODES = Object.keys(ERROR_CODES) as ErrorCode[];

describe("an AtlasError", () => {
  test("knows whether a retry helps, unless its options say otherwise", () => {
    expect(new AtlasError("overloaded", "m").retryable).toBe(true);
    expect(new AtlasError("app", "m").retryable).toBe(false);
    expect(new AtlasError("app", "m", { retryable: true }).retryable).toBe(true);
    expect(new AtlasError("timeout", "m").maybeExecuted).toBe(false);
  });

  test("is recognised by its name and code, whichever copy of the package made it", () => {
    const foreign = Object.assign(new Error("m"), { name: "AtlasError", code: "timeout" });
    expect(isAtlasError(foreign)).toBe(true);
    expect(isAtlasError(new AtlasError("timeout", "m"))).toBe(true);
    for (
      const other of [
        null,
        undefined,
        "AtlasError",
        { name: "AtlasError", code: "app" },
        new Error("m"),
      ]
    ) {
      expect(isAtlasError(other)).toBe(false);
    }
  });
});

describe("an error on the wire", () => {
  test("keeps its code, message and both flags, and loses its stack and cause", () => {
    fc.assert(fc.property(
      fc.constantFrom(...CODES),
      fc.string({ maxLength: 200 }),
      fc.boolean(),
      fc.boolean(),
      (code, message, retryable, maybeExecuted) => {
        const sent = new AtlasError(code, message, { retryable, maybeExecuted, cause: "secret" });
        const got = fromWireError(JSON.parse(JSON.stringify(toWireError(sent))));
        expect(got).toMatchObject({ code, message, retryable, maybeExecuted });
        expect(got.cause).toBeUndefined();
        expect(JSON.stringify(toWireError(sent))).not.toContain("secret");
      },
    ));
  });

  test("has its message cut if it is long", () => {
    expect(toWireError(new AtlasError("app", "x".repeat(9_999)))[1]).toHaveLength(2_000);
  });

  test("is sent as `app` if Atlas doesn't define its code", () => {
    for (const code of ["E_MINE", "constructor", "__proto__", "toString"]) {
      const thrown = Object.assign(new Error("m"), { name: "AtlasError", code });
      expect(toWireError(thrown as AtlasError)).toEqual(["app", "m", false, false]);
      expect(toAtlasError(thrown)).toMatchObject({ code: "app", cause: thrown });
    }
  });

  test("is read as `unavailable` if its code is unknown to this version, or a property that every object has", () => {
    for (const code of ["from_the_future", "constructor", "__proto__", "toString"]) {
      expect(fromWireError([code, "m", true, true])).toMatchObject({
        code: "unavailable",
        maybeExecuted: true,
      });
    }
  });
});

describe("an error thrown by user code", () => {
  test("becomes app, with its message and cause", () => {
    const cause = new TypeError("x is not a function");
    const error = toAtlasError(cause, { maybeExecuted: true });
    expect(error).toMatchObject({
      code: "app",
      message: "x is not a function",
      maybeExecuted: true,
    });
    expect(error.cause).toBe(cause);
  });

  test("stays as it is if it is an AtlasError", () => {
    const error = new AtlasError("overloaded", "m");
    expect(toAtlasError(error)).toBe(error);
  });

  test("never throws while it is printed", () => {
    const unprintable = {
      toString() {
        throw new Error("no");
      },
    };
    for (const thrown of [unprintable, Object.create(null), Symbol("s"), undefined, null, 1n]) {
      expect(typeof messageOf(thrown)).toBe("string");
    }
    const trap = new Error("m");
    Object.defineProperty(trap, "message", {
      get() {
        throw new Error("no");
      },
    });
    expect(messageOf(trap)).toMatch(/can't be printed/);
  });

  test.each(["name", "stack", "message", "code"])("may have a %s that throws", (property) => {
    const trap = Object.defineProperty(
      Object.assign(new Error("m"), { name: "AtlasError", code: "timeout" }),
      property,
      {
        get() {
          throw new Error("no");
        },
      },
    );
    expect(typeof isAtlasError(trap)).toBe("boolean");
    expect(typeof stackOf(trap)).toBe("string");
    expect(typeof toWireError(toAtlasError(trap))[1]).toBe("string");
  });

  test("is logged with its stack, or else its message", () => {
    expect(stackOf(new Error("m"))).toMatch(/Error: m\n/);
    for (const stack of [undefined, "", 5]) {
      expect(stackOf(Object.assign(new Error("m"), { stack }))).toBe("m");
    }
    expect(stackOf("text")).toBe("text");
  });

  test("has a message that is text, also if the thrown error's is not", () => {
    const odd = Object.assign(new Error("m"), { message: { a: 1 } as unknown as string });
    expect(typeof messageOf(odd)).toBe("string");
    expect(typeof toWireError(toAtlasError(odd))[1]).toBe("string");
  });
});
