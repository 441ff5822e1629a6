/**
 * The authorities that a node has met: their addresses outlive the list that named the first.
 *
 * Takes who answered and who was lost; gives the lost ones that are to be asked again, each after
 * a pause that grows. Bounded: the one that is lost the longest is forgotten first.
 */
import { MAX_REMEMBERED, SEEK_MS } from "../../limits.ts";
import type { Peer } from "../../ports/transport.ts";

interface Entry {
  incarnation: string;
  /** Since when it can't be reached, monotonic ms; Infinity: it can. */
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
    if (this.#entries.size > MAX_REMEMBERED) this.#forgetOne();
  }

  /** An authority can't be reached any more. */
  lost({ address, incarnation }: Peer, now: number): void {
    const entry = this.#entries.get(address);
    // Another one lives there by now.
    if (entry?.incarnation !== incarnation || entry.lostAt < Infinity) return;
    entry.lostAt = entry.dueAt = now;
  }

  /** The addresses to be asked now. */
  due(now: number): string[] {
    const [least, most] = SEEK_MS;
    const due = [...this.#entries].filter(([, { dueAt }]) => dueAt <= now);
    for (const [, entry] of due) {
      entry.dueAt = now + Math.min(most, least * 2 ** Math.min(entry.attempts++, 16));
    }
    return due.map(([address]) => address);
  }

  #forgetOne(): void {
    let [found, since] = ["", Infinity];
    for (const [address, { lostAt }] of this.#entries) {
      if (found !== "" && lostAt >= since) continue;
      [found, since] = [address, lostAt];
    }
    this.#entries.delete(found);
  }
}
