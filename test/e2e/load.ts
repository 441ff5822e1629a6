/**
 * Callers that send messages to one channel as fast as they are answered, and a record of the
 * answers.
 *
 * Takes the nodes' URLs; gives each acknowledged message, and every refusal. A keyed caller
 * repeats a message under its idempotency key until it is acknowledged, at the next node each
 * time.
 */
import { expect } from "vitest";
import { type Answer, call, history } from "./calls.ts";

/** A message that was acknowledged. */
export interface Receipt {
  readonly text: string;
  readonly seq: number;
  readonly epoch: number;
  /** When its first attempt was made and when the answer came, monotonic ms. */
  readonly began: number;
  readonly ended: number;
}

export interface Load {
  readonly receipts: Receipt[];
  /** Answers that were errors. */
  readonly refusals: Answer[];
  /** Callers send no further message; resolves when each one's last message is settled. */
  finish(): Promise<void>;
}

export interface LoadOptions {
  channel: string;
  callers: number;
  /** Whether messages carry idempotency keys and are repeated. Default true. */
  keyed?: boolean;
  /** Gives the nodes' URLs; called before each attempt, because nodes come and go. */
  urls: () => readonly string[];
}

/** How long one attempt waits for its answer, in ms. */
const PATIENCE_MS = 12_000;
/** How long a caller waits after a refusal before the next attempt, in ms. */
const RETRY_MS = 20;

let loads = 0;

/** Starts the callers. */
export function startLoad({ channel, callers, keyed = true, urls }: LoadOptions): Load {
  const receipts: Receipt[] = [];
  const refusals: Answer[] = [];
  const name = `L${loads++}`;
  let over = false;

  async function attempt(at: number, text: string): Promise<Answer | null> {
    const open = urls();
    const url = open[at % open.length] as string;
    try {
      const settings = { patienceMs: PATIENCE_MS, ...(keyed ? { key: text } : {}) };
      return await call(url, `channels/${channel}`, "send", [name, text], settings);
    } catch {
      return null;
    }
  }

  async function deliver(caller: number, text: string): Promise<void> {
    const began = performance.now();
    for (let at = caller;; at++) {
      const answer = await attempt(at, text);
      if (answer?.status === 200) {
        const { seq, epoch } = answer.body.result;
        receipts.push({ text, seq, epoch, began, ended: performance.now() });
        return;
      }
      if (answer) refusals.push(answer);
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      if (!keyed) return;
    }
  }

  async function work(caller: number): Promise<void> {
    for (let n = 0; !over; n++) await deliver(caller, `${name}.${caller}.${n}`);
  }

  const working = Promise.all(Array.from({ length: callers }, (_, caller) => work(caller)));
  return {
    receipts,
    refusals,
    async finish() {
      over = true;
      await working;
    },
  };
}

/**
 * Checks a channel's history against the receipts: it has no gaps or duplicates, each acknowledged
 * message has its acknowledged number, and epochs never fall.
 *
 * @param complete whether each message of the history must have a receipt, too.
 */
export async function checkHistory(
  url: string,
  channel: string,
  receipts: readonly Receipt[],
  complete: boolean = true,
): Promise<void> {
  const messages = await history(url, channel);
  expect(messages.map(({ seq }) => seq)).toEqual(messages.map((_, i) => i + 1));
  const texts = messages.map(({ text }) => text);
  expect(new Set(texts).size, "no message twice").toBe(texts.length);
  const wrong = receipts.filter(({ text, seq }) => texts[seq - 1] !== text);
  expect(wrong, "acknowledged, and not in the history").toEqual([]);
  if (complete) expect(texts.length).toBe(receipts.length);
  const epochs = [...receipts].sort((a, b) => a.seq - b.seq).map(({ epoch }) => epoch);
  expect(epochs).toEqual([...epochs].sort((a, b) => a - b));
}
