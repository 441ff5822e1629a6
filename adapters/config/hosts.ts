/** Derives a node's public URL and name from what it listens on. */
import { createHash } from "node:crypto";
import { hostname, networkInterfaces } from "node:os";
import { MAX_TOKEN_BYTES } from "../../src/limits.ts";
import { checkAddress, LINK_PATH } from "../transport/link_address.ts";

/**
 * The URL of a node that listens on `host` and `port`. If that is every address of the machine, its
 * first one that isn't internal stands for all.
 */
export function urlOf(host: string, port: number): string {
  const reachable = host === "0.0.0.0" || host === "::" ? machineAddress() ?? "127.0.0.1" : host;
  return `http://${reachable.includes(":") ? `[${reachable}]` : reachable}:${port}`;
}

/**
 * The URL of the node whose link address this is. Addresses come from the registry, so they follow
 * the same rules as addresses that are dialled: no link-local or metadata host.
 *
 * @throws AtlasError `unavailable`, saying what is wrong with the address.
 */
export function urlOfLink(address: string): string {
  return checkAddress(address, { secured: true }).slice(0, -LINK_PATH.length).replace(
    /^ws/,
    "http",
  );
}

/**
 * `atlas@<machine>-<port>`, with the machine's name reduced to the characters that a name may have.
 * A name that is too long is cut and ends with a digest of the whole, because names of replicas
 * often differ only at the end.
 */
export function defaultNodeName(port: number, machine: string = hostname()): string {
  const room = MAX_TOKEN_BYTES - `atlas@-${port}`.length;
  const clean = machine.replace(/[^A-Za-z0-9\-._~]+/g, "-");
  const fitting = clean.length <= room ? clean : `${clean.slice(0, room - 9)}~${digest(machine)}`;
  return `atlas@${fitting || "localhost"}-${port}`;
}

function machineAddress(): string | undefined {
  const all = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  // Link-local addresses are never dialled (`docs/design.md`, Links and messages).
  const outward = all.filter((one) => !one.internal && !/^(?:fe80|169\.254)/i.test(one.address));
  const first = outward.find((one) => one.family === "IPv4") ?? outward[0];
  return first?.address;
}

/** Eight characters of a digest: names of one cluster are unlikely to share them. */
function digest(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 8);
}
