/**
 * A mailbox: calls waiting at one resource, first in, first out, bounded. It is a linked list
 * through the calls themselves, so that an empty mailbox costs almost no memory.
 */
import { AtlasError, toAtlasError } from "../errors.ts";
import type { Call } from "../model/call.ts";
import type { Ownership } from "../model/ownership.ts";

export class Mailbox {
  length = 0;
  readonly #bound: number;
  readonly #all: { queued: number };
  #first: Call | null = null;
  #last: Call | null = null;

  /** @param all counts the calls in all mailboxes. */
  constructor(bound: number, all: { queued: number }) {
    this.#bound = bound;
    this.#all = all;
  }

  /** Appends a call. @throws AtlasError `overloaded` if it is full. */
  push(call: Call): void {
    if (this.length >= this.#bound) this.#sweep();
    if (this.length >= this.#bound && !call.alwaysQueued) {
      throw new AtlasError("overloaded", `${call.key} has ${this.#bound} calls waiting already`);
    }
    if (this.#last) this.#last.next = call;
    else this.#first = call;
    this.#last = call;
    this.length++;
    this.#all.queued++;
  }

  /** Appends a call, or fails it. */
  offer(call: Call): void {
    try {
      this.push(call);
    } catch (error) {
      call.fail(toAtlasError(error));
    }
  }

  /**
   * Removes and returns the first call whose caller still waits; null if the mailbox has no such
   * call.
   */
  shift(): Call | null {
    for (;;) {
      const call = this.#first;
      if (!call) return null;
      this.#first = call.next;
      call.next = null;
      if (!this.#first) this.#last = null;
      this.length--;
      this.#all.queued--;
      if (!call.done) return call;
    }
  }

  /** Redirects all calls, to `next` if that is known. */
  refuse(error: AtlasError, next: Ownership | null = null): void {
    for (let call = this.shift(); call; call = this.shift()) call.fail(error, next);
  }

  /**
   * Drops calls that nobody waits for, before another call is refused because the mailbox is full.
   */
  #sweep(): void {
    const kept: Call[] = [];
    for (let call = this.shift(); call; call = this.shift()) kept.push(call);
    for (const call of kept) this.push(call);
  }
}
