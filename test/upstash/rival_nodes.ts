/**
 * Claims and commits by rival nodes through an HTTP Redis with faults; each node records its
 * answers. Takes stores and a seed, and gives the records. Each node acts as Atlas's core does: a
 * claim whose answer was lost is repeated under the same `opId`, a commit under the same turn, and
 * the next turn begins only after that. Any node may declare another's ownership dead, which a
 * store can't check.
 */
import { isAtlasError } from "../../src/errors.ts";
import type { Ownership } from "../../src/model/ownership.ts";
import type { Claim, Commit, Store } from "../../src/ports/store.ts";

/** The answers that the nodes got. */
export interface Answers {
  /** Claims that won. */
  readonly wins: { readonly claim: Claim; readonly owner: Ownership }[];
  /** Commits that were answered `committed`, and all that were sent. */
  readonly acknowledged: Commit[];
  readonly sent: Map<string, Commit>;
  /** Ownerships under which a commit was answered `fenced`. */
  readonly fenced: { readonly key: string; readonly owner: Ownership }[];
  /** Keys whose lookup answered unowned after they were won, although no node had released them. */
  readonly falselyAbsent: string[];
  /** Answers that were neither a result nor `unavailable`. */
  readonly strange: string[];
  /** Steps that were answered `unavailable`. */
  unavailable: number;
}

export interface RivalOptions {
  readonly stores: readonly Store[];
  /** Keys that are never released. */
  readonly kept: readonly string[];
  /** Keys that their owners release now and then. */
  readonly released: readonly string[];
  /** The number of steps of each node on each key. */
  readonly steps: number;
  readonly random: () => number;
}

/** Attempts of a step before a node abandons its ownership. */
const MAX_ATTEMPTS = 12;

/** Runs until every node has done its steps on every key. */
export async function runRivals(options: RivalOptions): Promise<Answers> {
  const answers: Answers = {
    wins: [],
    acknowledged: [],
    sent: new Map(),
    fenced: [],
    falselyAbsent: [],
    strange: [],
    unavailable: 0,
  };
  const keys = [...options.kept, ...options.released];
  await Promise.all(options.stores.map((store) => {
    const incarnation = crypto.randomUUID();
    return Promise.all(
      keys.map((key) => new Rival(store, incarnation, key, options, answers).run()),
    );
  }));
  return answers;
}

/** A commit's unique name. */
export function nameOf({ epoch, turn }: { epoch: number; turn: number }): string {
  return `done:${epoch}:${turn}`;
}

/** A field that a turn sets and the next one deletes. */
export function traceOf({ epoch, turn }: { epoch: number; turn: number }): string {
  return `trace:${epoch}:${turn}`;
}

/** One node's claims and commits of one key. */
class Rival {
  readonly #store: Store;
  readonly #incarnation: string;
  readonly #key: string;
  readonly #options: RivalOptions;
  readonly #answers: Answers;
  #owned: Ownership | null = null;
  #turn = 0;

  constructor(
    store: Store,
    incarnation: string,
    key: string,
    options: RivalOptions,
    answers: Answers,
  ) {
    this.#store = store;
    this.#incarnation = incarnation;
    this.#key = key;
    this.#options = options;
    this.#answers = answers;
  }

  async run(): Promise<void> {
    const { steps, random, released } = this.#options;
    for (let step = 0; step < steps; step++) {
      if (this.#owned === null) await this.#acquire();
      else if (released.includes(this.#key) && random() < 0.2) await this.#release(this.#owned);
      else await this.#commit(this.#owned);
    }
  }

  async #acquire(): Promise<void> {
    const { kept, random } = this.#options;
    const isWon = kept.includes(this.#key) &&
      this.#answers.wins.some(({ claim }) => claim.key === this.#key);
    const seen = await this.#asked(() => this.#store.lookup(this.#key));
    if (seen === undefined) return;
    if (seen === null && isWon) this.#answers.falselyAbsent.push(this.#key);
    const rival = seen !== null && seen.incarnation !== this.#incarnation;
    if (rival && random() < 0.7) return;
    const claim: Claim = {
      key: this.#key,
      rrp: `rrp:test/node/${this.#key}`,
      incarnation: this.#incarnation,
      opId: crypto.randomUUID(),
      expected: seen && { incarnation: seen.incarnation, epoch: seen.epoch },
    };
    const reply = await this.#asked(() => this.#store.claim(claim));
    if (!reply?.won || reply.owner === null) return;
    this.#answers.wins.push({ claim, owner: reply.owner });
    this.#owned = reply.owner;
    this.#turn = 0;
  }

  async #commit(owner: Ownership): Promise<void> {
    const { incarnation, epoch } = owner;
    const at = { epoch, turn: ++this.#turn };
    const commit: Commit = {
      key: this.#key,
      incarnation,
      ...at,
      puts: [[nameOf(at), incarnation], [traceOf(at), ""], ["last", `${epoch} ${at.turn}`]],
      deletes: [traceOf({ epoch, turn: at.turn - 1 })],
    };
    this.#answers.sent.set(`${this.#key} ${nameOf(at)}`, commit);
    const reply = await this.#asked(() => this.#store.commit(commit));
    if (reply === "committed") return void this.#answers.acknowledged.push(commit);
    if (reply === "fenced") this.#answers.fenced.push({ key: this.#key, owner });
    this.#owned = null;
  }

  async #release({ incarnation, epoch }: Ownership): Promise<void> {
    this.#owned = null;
    await this.#asked(() => this.#store.release(this.#key, incarnation, epoch));
  }

  /** The answer of `step`, or undefined if it stays unavailable. */
  async #asked<T>(step: () => Promise<T>): Promise<T | undefined> {
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      try {
        return await step();
      } catch (error) {
        this.#answers.unavailable++;
        if (!isAtlasError(error) || error.code !== "unavailable") {
          this.#answers.strange.push(String(error));
          return undefined;
        }
      }
    }
    return undefined;
  }
}
