/**
 * Concurrent callers of many keys, and the answers that each got.
 *
 * Takes the number of callers, the nodes' URLs, and the channel that a caller writes to next; gives
 * every acknowledged message with the owner that answered. A keyed caller repeats a message under
 * its idempotency key until it is acknowledged, at the next node each time; an unkeyed one never
 * repeats.
 */
import { expect } from "vitest";
import { call, type Message } from "./calls.ts";

/** A message that was acknowledged. */
export interface Acknowledged {
  readonly channel: string;
  readonly text: string;
  readonly seq: number;
  readonly epoch: number;
  readonly rrp: string;
  /** When its first attempt was made and when the answer came, monotonic ms. */
  readonly began: number;
  readonly ended: number;
}

export interface Callers {
  readonly acknowledged: Acknowledged[];
  /** Callers send no further message; resolves when each one's last message is settled. */
  finish(): Promise<void>;
  /** Stops callers at once; gives the messages so far. */
  abandon(): void;
}

export interface CallersOptions {
  callers: number;
  keyed: boolean;
  /** The channel of a caller's n-th message. */
  channel: (caller: number, n: number) => string;
  urls: readonly string[];
  /** How long a caller waits after a message, in ms. Default none. */
  restMs?: number;
}

/** The time limit of one attempt, in ms: longer than a call's deadline. */
const PATIENCE_MS = 12_000;
/** How long a caller waits after a refusal before the next attempt, in ms. */
const RETRY_MS = 20;

let groups = 0;

/** Starts the callers. */
export function startCallers(options: CallersOptions): Callers {
  const { callers, keyed, channel, urls, restMs = 0 } = options;
  const acknowledged: Acknowledged[] = [];
  const name = `C${groups++}`;
  let over = false;
  let abandoned = false;

  async function deliver(caller: number, to: string, text: string): Promise<void> {
    const began = performance.now();
    for (let at = caller; !abandoned; at++) {
      const settings = { patienceMs: PATIENCE_MS, ...keyed && { key: text } };
      const url = urls[at % urls.length] as string;
      const answer = await call(url, `channels/${to}`, "send", [name, text], settings)
        .catch(() => null);
      if (answer?.status === 200) {
        const { rrp, epoch, result: { seq } } = answer.body;
        return void acknowledged.push({
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
    acknowledged,
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

/** Acknowledged messages by their channel. */
export function byChannel(acknowledged: readonly Acknowledged[]): Map<string, Acknowledged[]> {
  const all = new Map<string, Acknowledged[]>();
  for (const one of acknowledged) {
    const known = all.get(one.channel);
    if (known) known.push(one);
    else all.set(one.channel, [one]);
  }
  return all;
}

/**
 * Checks that a channel had one owner at a time: each epoch belongs to one node, and no epoch
 * answered a call that was made after a later epoch's answer had arrived.
 */
export function checkOwners(acknowledged: readonly Acknowledged[]): void {
  const owners = new Map<number, string>();
  for (const { epoch, rrp, channel } of acknowledged) {
    expect(owners.get(epoch) ?? rrp, `one owner of ${channel} in epoch ${epoch}`).toBe(rrp);
    owners.set(epoch, rrp);
  }
  const ended = [...acknowledged].sort((a, b) => a.ended - b.ended);
  for (const { channel, text, epoch, began } of acknowledged) {
    const later = ended.find((other) => other.epoch > epoch);
    if (later) expect(began, `${text} of ${channel} came too late`).toBeLessThan(later.ended);
  }
}

/**
 * The acknowledged messages that a channel's history lacks. The history itself must be complete:
 * without gaps or duplicates, and with epochs that never fall.
 */
export function missingOf(
  history: readonly Message[],
  acknowledged: readonly Acknowledged[],
): Acknowledged[] {
  expect(history.map(({ seq }) => seq)).toEqual(history.map((_, i) => i + 1));
  const texts = history.map(({ text }) => text);
  expect(new Set(texts).size, "no message twice").toBe(texts.length);
  const isKept = ({ text, seq }: Acknowledged): boolean => texts[seq - 1] === text;
  const kept = acknowledged.filter(isKept).sort((a, b) => a.seq - b.seq);
  const epochs = kept.map(({ epoch }) => epoch);
  expect(epochs).toEqual([...epochs].sort((a, b) => a - b));
  expect(new Set(kept.map(({ seq }) => seq)).size, "no number twice").toBe(kept.length);
  return acknowledged.filter((one) => !isKept(one));
}
