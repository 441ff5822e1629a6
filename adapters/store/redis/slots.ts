/**
 * Slots of a Redis Cluster: the slot of a key, the answer to CLUSTER SLOTS, and redirections.
 *
 * Source: https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/
 */
import { messageOf } from "../../../src/errors.ts";
import { malformed } from "./replies.ts";

/** Slots of a Redis Cluster. */
export const CLUSTER_SLOTS = 16_384;

/** Where a node of the cluster is. */
export interface NodeAddress {
  readonly host: string;
  readonly port: number;
}

/** Slots that one master serves. */
export interface SlotRange {
  readonly first: number;
  readonly last: number;
  readonly master: NodeAddress;
  readonly replicas: readonly NodeAddress[];
}

/** A node's answer to a command that it didn't run. */
export type Redirection =
  | { readonly kind: "moved" | "ask"; readonly to: NodeAddress }
  | { readonly kind: "again" }
  | { readonly kind: "down" };

const ENCODER = new TextEncoder();

/** The slot of a key: that of its hash tag, if the key has a tag that isn't empty. */
export function clusterSlot(key: string): number {
  const open = key.indexOf("{");
  const end = open < 0 ? -1 : key.indexOf("}", open + 1);
  const hashed = end > open + 1 ? key.slice(open + 1, end) : key;
  return crc16(ENCODER.encode(hashed)) % CLUSTER_SLOTS;
}

/** CRC-16/XMODEM. */
function crc16(bytes: Uint8Array): number {
  let crc = 0;
  for (const byte of bytes) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) {
      crc = (crc & 0x8000) === 0 ? crc << 1 : (crc << 1) ^ 0x1021;
    }
    crc &= 0xffff;
  }
  return crc;
}

/**
 * Reads CLUSTER SLOTS. A node that doesn't know its own name leaves it out: its address is the one
 * at which it was asked.
 *
 * @throws AtlasError `unavailable` if the answer has another form.
 */
export function slotRangesOf(reply: unknown, asked: NodeAddress): SlotRange[] {
  if (!Array.isArray(reply)) throw malformed("CLUSTER SLOTS", reply);
  return reply.map((range) => {
    const [first, last, ...nodes] = Array.isArray(range) ? range : [];
    const [master, ...replicas] = nodes.map((node) => nodeOf(node, asked));
    if (!isSlot(first) || !isSlot(last) || !master) throw malformed("CLUSTER SLOTS", range);
    return { first, last, master, replicas };
  });
}

function nodeOf(node: unknown, asked: NodeAddress): NodeAddress {
  const [host, port] = Array.isArray(node) ? node : [];
  if (!Number.isSafeInteger(port)) throw malformed("CLUSTER SLOTS", node);
  const known = typeof host === "string" && host !== "" && host !== "?";
  return { host: known ? host : asked.host, port };
}

function isSlot(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) < CLUSTER_SLOTS;
}

/** The redirection in an error; null if it is another error. */
export function redirectionOf(error: unknown, asked: NodeAddress): Redirection | null {
  const text = messageOf((error as { cause?: unknown } | null)?.cause ?? error);
  const [, kind, host, port] = /^(MOVED|ASK) \d+ (\S*):(\d{1,5})\s*$/.exec(text) ?? [];
  if (kind !== undefined) {
    const known = host !== undefined && host !== "" && host !== "?";
    const to = { host: known ? host : asked.host, port: Number(port) };
    return { kind: kind === "ASK" ? "ask" : "moved", to };
  }
  if (/^TRYAGAIN\b/.test(text)) return { kind: "again" };
  return /^CLUSTERDOWN\b/.test(text) ? { kind: "down" } : null;
}
