/** Shows on which runtime the tests run, and checks that it is the requested one. */
import process from "node:process";
import { expect, test } from "vitest";

const versions: Record<string, string | undefined> = process.versions;
const running = versions["bun"] ? "bun" : versions["deno"] ? "deno" : "node";

test(`the tests run on ${running} ${versions[running]}`, () => {
  console.log(`running on ${running} ${versions[running]}`);
  expect(process.env["ATLAS_TEST_RUNTIME"] ?? running).toBe(running);
});
