/**
 * Free ports of loopback that no other process takes by chance.
 *
 * Gives a port for a server that is started later, or again after a crash. A bind to port 0, and
 * every outgoing connection, gets one of the system's ephemeral ports (from 32,768 on Linux, from
 * 49,152 elsewhere), so these are below them. Processes divide them in blocks: the process that
 * listens on a block's first port owns the rest of it for as long as it lives. So a port can't be
 * taken between being given and being used, nor while its server is down, except by a program that
 * names it.
 */
import { createServer, type Server } from "node:net";
import process from "node:process";

const FIRST = 10_240;
/** Ports of a block: most processes ask for fewer. */
const BLOCK = 64;
const BLOCKS = 343;

/** The block that comes next, and what is left of the present one. */
let next = process.pid % BLOCKS;
let left: number[] = [];
/** Requests for ports are served one after the other. */
let served: Promise<unknown> = Promise.resolve();

/** A loopback port without a listener; never the same twice, in any process. */
export function freePort(): Promise<number> {
  const port = served.then(take);
  served = port.catch(() => {});
  return port;
}

async function take(): Promise<number> {
  for (let blocks = 0; blocks <= BLOCKS;) {
    const port = left.shift();
    if (port === undefined) {
      blocks++;
      await takeBlock();
    } else if (await isFree(port)) return port;
  }
  throw new Error(`no port from ${FIRST} to ${FIRST + BLOCKS * BLOCK - 1} of 127.0.0.1 is free`);
}

/** Takes the next block, unless another process has it. */
async function takeBlock(): Promise<void> {
  const first = FIRST + next * BLOCK;
  next = (next + 1) % BLOCKS;
  const guard = await listen(first);
  // The server stays open until the process ends, and doesn't keep the process running.
  guard?.unref();
  if (guard) left = Array.from({ length: BLOCK - 1 }, (_, i) => first + 1 + i);
}

async function isFree(port: number): Promise<boolean> {
  const server = await listen(port);
  if (server) await new Promise((resolve) => server.close(resolve));
  return server !== null;
}

/** A server on a port; null if another server has it. */
function listen(port: number): Promise<Server | null> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(null));
    server.listen(port, "127.0.0.1", () => resolve(server));
  });
}
