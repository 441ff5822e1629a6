/** Covers test/support/ports.ts: a port given to a test's server can't be taken by chance. */
import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import { expect, test } from "vitest";
import { freePort } from "../support/ports.ts";

/** Fewer ports than lie between the first ports of two processes. */
const COUNT = 50;
const RANGE = "/proc/sys/net/ipv4/ip_local_port_range";

test("no port is given twice, and none that the system gives to others", async ({ skip }) => {
  if (!existsSync(RANGE)) return skip(`there is no ${RANGE} on this machine`);
  const [first = 0, last = 0] = readFileSync(RANGE, "utf8").trim().split(/\s+/).map(Number);
  const ports = [];
  for (let n = 0; n < COUNT; n++) ports.push(await freePort());
  expect(new Set(ports).size).toBe(ports.length);
  expect(ports.filter((port) => port >= first && port <= last)).toEqual([]);
});

test("a port in use is skipped", async () => {
  const holder = createServer();
  const hold = (port: number) =>
    new Promise<boolean>((resolve) => {
      holder.once("error", () => resolve(false));
      holder.listen(port, "127.0.0.1", () => resolve(true));
    });
  let port = await freePort() + 1;
  // Another program may listen on it already.
  while (!await hold(port)) port = await freePort() + 1;
  try {
    expect(await freePort()).not.toBe(port);
  } finally {
    await new Promise((resolve) => holder.close(resolve));
  }
});

test("two processes never get the same port, not even for servers that are down", async () => {
  const file = "../support/ports.ts";
  // Another instance of the module stands for another process that begins at the same block.
  const other: { freePort: typeof freePort } = await import(`${file}?other`);
  const given = new Set<number>();
  for (let n = 0; n < 100; n++) {
    given.add(await freePort());
    given.add(await other.freePort());
  }
  expect(given.size).toBe(200);
});

test("concurrent requests get different ports", async () => {
  const ports = await Promise.all(Array.from({ length: 80 }, () => freePort()));
  expect(new Set(ports).size).toBe(80);
});
