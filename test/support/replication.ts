/**
 * Copies keys between two Redis servers in both directions, with a delay that a test can change or
 * stop.
 *
 * Takes two URLs and a prefix of keys. Whenever a key changes at one side, its current value is
 * copied to the other, key by key, and the last write wins; a deleted key is removed. There is no
 * common order across keys of the two sides, as in any active-active set of masters.
 */
import { Redis } from "ioredis";

export interface Replication {
  /** How long each change takes to the other side from now on, in ms. */
  delay(ms: number): void;
  /** Stops copying in both directions; changes wait until it resumes. */
  hold(): void;
  /** Copies the waiting changes once, or resumes copying. */
  release(which?: (copied: CopiedKey) => boolean): void;
  /** Every change that was to be copied, the oldest first. */
  readonly copies: readonly CopiedKey[];
  close(): Promise<void>;
}

/** A key's value at one side; null if it was deleted. Times are `performance.now()`'s. */
export interface CopiedKey {
  readonly key: string;
  readonly dump: Buffer | null;
  readonly writtenAt: number;
  /** When it was applied at the other side; null while it is under way. */
  arrivedAt: number | null;
}

/** One side. */
class Side {
  readonly client: Redis;
  readonly #events: Redis;
  /**
   * When each key was last written here, directly or by a copy; a copy has the time of its
   * original.
   */
  readonly writtenAt = new Map<string, number>();
  /** Events that this module's own copying will cause, by key. */
  readonly #expected = new Map<string, number>();

  constructor(url: string) {
    this.client = new Redis(url, { maxRetriesPerRequest: 1 });
    this.#events = new Redis(url, { maxRetriesPerRequest: 1 });
    for (const client of [this.client, this.#events]) client.on("error", () => {});
  }

  /** Reports each change of a key with the prefix, by anyone but {@link copy}. */
  async watch(prefix: string, send: (copied: CopiedKey) => void): Promise<void> {
    await this.client.config("SET", "notify-keyspace-events", "KA");
    const head = `__keyspace@0__:`;
    this.#events.on("pmessage", (_pattern: string, channel: string) => {
      const key = channel.slice(head.length);
      const ours = this.#expected.get(key) ?? 0;
      if (ours > 0) return void this.#expected.set(key, ours - 1);
      const writtenAt = performance.now();
      this.writtenAt.set(key, writtenAt);
      this.client.dumpBuffer(key).then(
        (dump) => send({ key, dump, writtenAt, arrivedAt: null }),
        () => {},
      );
    });
    await this.#events.psubscribe(`${head}${prefix}*`);
  }

  /** Applies a copied key, unless a later write was made here. */
  async copy({ key, dump, writtenAt }: CopiedKey): Promise<void> {
    if ((this.writtenAt.get(key) ?? -Infinity) > writtenAt) return;
    this.writtenAt.set(key, writtenAt);
    this.#expected.set(key, (this.#expected.get(key) ?? 0) + 1);
    if (dump === null) {
      if (await this.client.del(key) === 0) this.#forgive(key);
    } else await this.client.restore(key, 0, dump, "REPLACE");
  }

  close(): void {
    this.client.disconnect();
    this.#events.disconnect();
  }

  #forgive(key: string): void {
    this.#expected.set(key, Math.max(0, (this.#expected.get(key) ?? 0) - 1));
  }
}

/**
 * Copies keys that start with `prefix` in both directions until it is closed; at first without
 * delay.
 */
export async function replicate(one: string, two: string, prefix: string): Promise<Replication> {
  const sides = [new Side(one), new Side(two)] as const;
  const timers = new Set<ReturnType<typeof setTimeout>>();
  let delayMs = 0;
  let held: { readonly copied: CopiedKey; readonly carry: () => void }[] | null = null;
  let closed = false;
  const copies: CopiedKey[] = [];
  const sendTo = (side: Side) => (copied: CopiedKey): void => {
    const carry = (): void => {
      if (closed) return;
      side.copy(copied).then(() => void (copied.arrivedAt = performance.now()), () => {});
    };
    copies.push(copied);
    if (held) return void held.push({ copied, carry });
    const left = copied.writtenAt + delayMs - performance.now();
    const timer = setTimeout(() => {
      timers.delete(timer);
      if (held) held.push({ copied, carry });
      else carry();
    }, Math.max(0, left));
    timers.add(timer);
  };
  await sides[0].watch(prefix, sendTo(sides[1]));
  await sides[1].watch(prefix, sendTo(sides[0]));
  return {
    delay: (ms) => void (delayMs = ms),
    hold: () => void (held ??= []),
    release(which) {
      const waiting = held ?? [];
      held = which ? waiting.filter(({ copied }) => !which(copied)) : null;
      for (const { copied, carry } of waiting) if (which?.(copied) ?? true) carry();
    },
    copies,
    async close() {
      closed = true;
      for (const timer of timers) clearTimeout(timer);
      for (const side of sides) side.close();
    },
  };
}
