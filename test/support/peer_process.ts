/**
 * Finds the process at the other end of a loopback connection.
 *
 * Takes a connection's ports, at the other end and at this one, and some processes; gives the one
 * that holds the other end. Reads /proc, so it needs Linux.
 */
import { existsSync, readdirSync, readFileSync, readlinkSync } from "node:fs";

const TABLES = ["/proc/net/tcp", "/proc/net/tcp6"];

/** Why processes can't be told apart on this machine; null if they can. */
export const callersHidden: string | null = existsSync(TABLES[0] as string)
  ? null
  : "there is no /proc/net/tcp on this machine";

/**
 * Of `processes`, by their ids, the one whose socket leads from `port` to the port `to`; null:
 * none. Both ports are needed: several processes may have connections from one port to different
 * ports.
 */
export function holderOf(port: number, to: number, processes: Iterable<number>): number | null {
  const inode = inodeOf(port, to);
  if (inode === null) return null;
  for (const pid of processes) if (holds(pid, `socket:[${inode}]`)) return pid;
  return null;
}

/** The inode of the connected socket with these ports. */
function inodeOf(port: number, to: number): string | null {
  const [local, remote] = [port, to].map((it) =>
    `:${it.toString(16).toUpperCase().padStart(4, "0")}`
  ) as [string, string];
  for (const table of TABLES.filter((path) => existsSync(path))) {
    for (const line of readFileSync(table, "utf8").split("\n")) {
      const [, address, peer, state, , , , , , inode] = line.trim().split(/\s+/);
      if (!address?.endsWith(local) || !peer?.endsWith(remote)) continue;
      // State 01: established.
      if (state === "01" && inode !== undefined) return inode;
    }
  }
  return null;
}

function holds(pid: number, wanted: string): boolean {
  try {
    return readdirSync(`/proc/${pid}/fd`).some((fd) => linkOf(`/proc/${pid}/fd/${fd}`) === wanted);
  } catch {
    // The process has ended.
    return false;
  }
}

function linkOf(path: string): string | null {
  try {
    return readlinkSync(path);
  } catch {
    // The descriptor was closed since it was listed.
    return null;
  }
}
