/**
 * Concurrent callers of many keys, and the answers that each got.
 *
 * Takes the number of callers, the nodes' URLs, and which channel a caller writes to next; gives
 * every acknowledged message with the owner that took it. A keyed caller repeats a message under
 * its idempotency key until it is acknowledged, at the next node each time; an unkeyed one never
 * repeats.
 */
import { expect } from "vitest";
import { call, type Message } from "./calls.ts";

/** A message that was acknowledged. */
export interface Promised {
  readonly channel: string;
  readonly text: string;
  readonly seq: number;
  readonly epoch: number;
  readonly rrp: string;
  /** When its first attempt was made and when the answer came, monotonic ms. */
  readonly began: number;
  readonly ended: number;
}

export interface Crowd {
  readonly promised: Promised[];
  /** Callers begin no further message; resolves when each has settled its last one. */
  finish(): Promise<void>;
  /** Callers go home with what they have. */
  abandon(): void;
}

export interface CrowdOptions {
  callers: number;
  keyed: boolean;
  /** The channel of a caller's n-th message. */
  channel: (caller: number, n: number) => string;
  doors: readonly string[];
  /** How long a caller rests after a message, in ms. Default none. */
  restMs?: number;
}

/** How long one attempt waits for its answer, in ms: longer than a call's deadline. */
const PATIENCE_MS = 12_000;
/** A caller who was refused thinks for so long before the next attempt, in ms. */
const RETRY_MS = 20;

let crowds = 0;

/** Sets the callers to work. */
export function startCrowd(options: CrowdOptions): Crowd {
  const { callers, keyed, channel, doors, restMs = 0 } = options;
  const promised: Promised[] = [];
  const name = `C${crowds++}`;
  let over = false;
  let abandoned = false;

  async function deliver(caller: number, to: string, text: string): Promise<void> {
    const began = performance.now();
    for (let door = caller; !abandoned; door++) {
      const settings = { patienceMs: PATIENCE_MS, ...keyed && { key: text } };
      const url = doors[door % doors.length] as string;
      const answer = await call(url, `channels/${to}`, "send", [name, text], settings)
        .catch(() => null);
      if (answer?.status === 200) {
        const { rrp, epoch, result: { seq } } = answer.body;
        return void promised.push({
          channel: to,
          text,
          seq,
          epoch,
          rrp,
          began,
          ended: performance.now(),
        });
      }
      await rest(RETRY_MS);
      if (!keyed) return;
    }
  }

  async function work(caller: number): Promise<void> {
    for (let n = 0; !over; n++) {
      await deliver(caller, channel(caller, n), `${name}.${caller}.${n}`);
      if (restMs > 0) await rest(restMs);
    }
  }

  const working = Promise.all(Array.from({ length: callers }, (_, caller) => work(caller)));
  return {
    promised,
    async finish() {
      over = true;
      await working;
    },
    abandon: () => void (over = abandoned = true),
  };
}

function rest(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Promises by their channel. */
export function byChannel(promised: readonly Promised[]): Map<string, Promised[]> {
  const all = new Map<string, Promised[]>();
  for (const one of promised) {
    const known = all.get(one.channel);
    if (known) known.push(one);
    else all.set(one.channel, [one]);
  }
  return all;
}

/**
 * Checks that a channel had one owner at a time: each epoch one node, and none that
 * answered a call made after a later epoch's answer had come.
 */
export function checkOwners(promised: readonly Promised[]): void {
  const owners = new Map<number, string>();
  for (const { epoch, rrp, channel } of promised) {
    expect(owners.get(epoch) ?? rrp, `one owner of ${channel} in epoch ${epoch}`).toBe(rrp);
    owners.set(epoch, rrp);
  }
  const ended = [...promised].sort((a, b) => a.ended - b.ended);
  for (const { channel, text, epoch, began } of promised) {
    const later = ended.find((other) => other.epoch > epoch);
    if (later) expect(began, `${text} of ${channel} came too late`).toBeLessThan(later.ended);
  }
}

/**
 * Which promises a channel's history doesn't keep. The history itself has to be whole:
 * gapless, nothing twice, epochs never falling.
 */
export function missingOf(history: readonly Message[], promised: readonly Promised[]): Promised[] {
  expect(history.map(({ seq }) => seq)).toEqual(history.map((_, i) => i + 1));
  const texts = history.map(({ text }) => text);
  expect(new Set(texts).size, "no message twice").toBe(texts.length);
  const isKept = ({ text, seq }: Promised): boolean => texts[seq - 1] === text;
  const kept = promised.filter(isKept).sort((a, b) => a.seq - b.seq);
  const epochs = kept.map(({ epoch }) => epoch);
  expect(epochs).toEqual([...epochs].sort((a, b) => a - b));
  expect(new Set(kept.map(({ seq }) => seq)).size, "no number twice").toBe(kept.length);
  return promised.filter((one) => !isKept(one));
}
