/**
 * Callers in several regions that tolerate no failure: every call is recorded.
 *
 * Takes nodes' URLs and a channel; gives what was acknowledged and what failed. No call has an
 * idempotency key, so that neither the callers nor the client repeat it.
 */
import { expect } from "vitest";
import { connect } from "../../adapters/client/client.ts";
import { type Message, result } from "./calls.ts";

/** A message that was acknowledged. */
export interface Note {
  readonly text: string;
  readonly seq: number;
  readonly epoch: number;
  readonly rrp: string;
}

export interface RegionsLoad {
  readonly notes: Note[];
  readonly failures: unknown[];
  /** Callers make no further call; resolves when each has its last answer. */
  finish(): Promise<void>;
}

export interface RegionsLoadOptions {
  /** Such as `channels`. */
  type: string;
  id: string;
  /** URLs, each with one caller. */
  urls: readonly string[];
  /** How long a caller waits between two calls, in ms. Default 0. */
  pauseMs?: number;
}

/** How long a call may take, in ms: longer than any stall of a busy machine. */
const PATIENCE_MS = 60_000;

let loads = 0;

/** Starts the callers. */
export function startRegionsLoad({ type, id, urls, pauseMs = 0 }: RegionsLoadOptions): RegionsLoad {
  const notes: Note[] = [];
  const failures: unknown[] = [];
  const name = `I${loads++}`;
  let over = false;

  async function work(at: string, caller: number): Promise<void> {
    const atlas = connect(at, { timeoutMs: PATIENCE_MS });
    for (let n = 0; !over; n++) {
      const text = `${name}.${caller}.${n}`;
      try {
        const { result, rrp } = await atlas.call(type, id, "send", [name, text]);
        notes.push({ text, rrp, ...result as { seq: number; epoch: number } });
      } catch (error) {
        failures.push(error);
      }
      if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  }

  const working = Promise.all(urls.map(work));
  return {
    notes,
    failures,
    async finish() {
      over = true;
      await working;
    },
  };
}

/** Messages that a channel returns at once. */
const PAGE = 10_000;

/** All messages of a channel, of any type. */
async function history(url: string, resource: string): Promise<Message[]> {
  const all: Message[] = [];
  for (;;) {
    const since = all.at(-1)?.seq ?? 0;
    const settings = { timeoutMs: PATIENCE_MS, patienceMs: 2 * PATIENCE_MS };
    const page = await result<Message[]>(url, resource, "history", [since], settings);
    all.push(...page);
    if (page.length < PAGE) return all;
  }
}

/**
 * Checks a channel's history against the answers of its only callers: no call failed, each message
 * is there once, at its number, and epochs never fall.
 */
export async function checkRegionsLoad(
  url: string,
  resource: string,
  { notes, failures }: RegionsLoad,
): Promise<void> {
  expect(failures).toEqual([]);
  const messages = await history(url, resource);
  const told = [...notes].sort((one, other) => one.seq - other.seq);
  expect(told.map(({ seq }) => seq)).toEqual(told.map((_, i) => i + 1));
  expect(messages.map(({ text }) => text)).toEqual(told.map(({ text }) => text));
  const epochs = told.map(({ epoch }) => epoch);
  expect(epochs).toEqual([...epochs].sort((one, other) => one - other));
}
