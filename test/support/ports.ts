/**
 * Free ports of loopback: a letting agent who hands out only flats that nobody moves into
 * by chance.
 *
 * Gives a port for a server that is started a moment later, or again after a crash. What
 * binds port 0, and every outgoing connection, gets one of the system's ephemeral ports
 * (from 32,768 on Linux, from 49,152 elsewhere), so these are below them: between being
 * given and being used they can't be taken, except by a program that was told to.
 */
import { createServer } from "node:net";
import process from "node:process";

const FIRST = 10_240;
const COUNT = 22_000;
/** How far processes begin from each other: most of them ask for fewer. */
const EACH = 64;

let next = (process.pid * EACH) % COUNT;

/** A port of loopback that nobody listens on now; never the same twice in a process. */
export async function freePort(): Promise<number> {
  for (let tried = 0; tried < COUNT; tried++) {
    const port = FIRST + next;
    next = (next + 1) % COUNT;
    if (await isFree(port)) return port;
  }
  throw new Error(`no port from ${FIRST} to ${FIRST + COUNT - 1} of 127.0.0.1 is free`);
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}
