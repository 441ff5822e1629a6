/**
 * The example calc: its digits are correct, and its demonstration succeeds on the runtime of the
 * test.
 */
import { afterEach, describe, expect, test } from "vitest";
import { calc } from "../../examples/calc/calc.ts";
import { endAll, start } from "./spawn.ts";

afterEach(endAll);

const context = { module: "calc", version: "1.0.0", signal: new AbortController().signal };

describe("the function pi", () => {
  test.each([
    [0, "3"],
    [1, "3.1"],
    [5, "3.14159"],
    [50, "3.14159265358979323846264338327950288419716939937510"],
  ])("gives %i digits", async (digits, text) => {
    expect(await calc.functions.pi.call(context, digits)).toBe(text);
  });

  test("gives the thousandth digit, and the Feynman point", async () => {
    const text = await calc.functions.pi.call(context, 1_000);
    expect(text).toHaveLength(1_002);
    expect(text.slice(-10)).toBe("2164201989");
    expect(text.slice(2 + 761, 2 + 767)).toBe("999999");
  });

  test.each([-1, 1.5, 20_001, NaN, "5" as unknown as number])(
    "refuses %s digits",
    async (digits) => {
      await expect(calc.functions.pi.call(context, digits)).rejects.toMatchObject({
        code: "bad_request",
        message: expect.stringContaining("0 to 20000"),
      });
    },
  );

  test("stops once no caller waits, and yields to the event loop while it runs", async () => {
    const controller = new AbortController();
    const working = calc.functions.pi.call({ ...context, signal: controller.signal }, 20_000);
    setTimeout(() => controller.abort(new Error("gone")));
    await expect(working).rejects.toThrow("gone");
  });
});

/**
 * Two hundred calls for thousands of digits, in two processes: this takes seconds on an idle
 * machine.
 */
const DEMO_MS = 180_000;

test(
  "the demonstration runs two calls at a time on one node, four on two, and exits with 0",
  async () => {
    const demo = start("examples/calc/demo.ts", [], {}, { leads: true });
    expect(await demo.ended).toBe(0);
    expect(demo.output.stderr).toBe("");
    const { stdout } = demo.output;
    expect(stdout).toContain("3.141592653589793238462643383279");
    expect([...stdout.matchAll(/at most +(\d+) at a time/g)].map(([, most]) => most))
      .toEqual(["2", "4"]);
    expect(stdout).toMatch(/finished +100, [\d.]+ a second/);
  },
  DEMO_MS,
);
