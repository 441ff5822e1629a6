/**
 * Remembers the authorities that this node has met, beyond the list that named the first of them.
 *
 * Takes which authorities answered and which were lost; gives the lost ones to ask again, each
 * after a growing backoff. Bounded: the one lost for longest is evicted first.
 */
import { MAX_REMEMBERED, SEEK_MS } from "../../limits.ts";
import type { Peer } from "../../ports/transport.ts";

interface Entry {
  incarnation: string;
  /** Since when it is unreachable, monotonic ms; Infinity: it is reachable. */
  lostAt: number;
  attempts: number;
  dueAt: number;
}

export class KnownAuthorities {
  readonly #entries = new Map<string, Entry>();

  get size(): number {
    return this.#entries.size;
  }

  /** An authority answered. */
  met({ address, incarnation }: Peer): void {
    if (address === "") return;
    this.#entries.delete(address);
    this.#entries.set(address, { incarnation, lostAt: Infinity, attempts: 0, dueAt: Infinity });
    if (this.#entries.size > MAX_REMEMBERED) this.#evictOne();
  }

  /** An authority became unreachable. */
  lost({ address, incarnation }: Peer, now: number): void {
    const entry = this.#entries.get(address);
    // Another authority answers at that address by now.
    if (entry?.incarnation !== incarnation || entry.lostAt < Infinity) return;
    entry.lostAt = entry.dueAt = now;
  }

  /** The addresses to ask now. */
  due(now: number): string[] {
    const [least, most] = SEEK_MS;
    const due = [...this.#entries].filter(([, { dueAt }]) => dueAt <= now);
    for (const [, entry] of due) {
      entry.dueAt = now + Math.min(most, least * 2 ** Math.min(entry.attempts++, 16));
    }
    return due.map(([address]) => address);
  }

  #evictOne(): void {
    let [found, since] = ["", Infinity];
    for (const [address, { lostAt }] of this.#entries) {
      if (found !== "" && lostAt >= since) continue;
      [found, since] = [address, lostAt];
    }
    this.#entries.delete(found);
  }
}
