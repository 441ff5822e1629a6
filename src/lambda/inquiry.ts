/**
 * An inquiry: a census taker who asks the same of several parts and waits a while for
 * their answers.
 *
 * Takes who is asked and what; sends each an `ask`, and gives the answers that came
 * before all were there, gone, or too late.
 */
import type { Address } from "./address.ts";
import type { Letter, LetterOf } from "./letters.ts";
import { Part } from "./part.ts";

/** How long answers are waited for, ms. */
const PATIENCE_MS = 2_000;

export type Question = LetterOf<"ask">["what"];
type Answer = LetterOf<Question>;

export class Inquiry extends Part {
  readonly #asked: Set<Address>;
  readonly #what: Question;
  readonly #module: string;
  readonly #done: (answers: Letter[]) => void;
  readonly #answers: Letter[] = [];
  #nonce = 0;

  /** @param done runs once, with what came. */
  constructor(
    asked: readonly Address[],
    what: Question,
    module: string,
    done: (answers: Letter[]) => void,
  ) {
    super();
    this.#asked = new Set(asked);
    this.#what = what;
    this.#module = module;
    this.#done = done;
  }

  protected override started(): void {
    const nonce = this.#nonce = this.desk.draw();
    for (const part of this.#asked) {
      this.desk.watch(part);
      this.desk.send(part, { kind: "ask", nonce, what: this.#what, module: this.#module });
    }
    this.desk.after(PATIENCE_MS, () => this.#leave());
    if (this.#asked.size === 0) this.desk.soon(() => this.#leave());
  }

  protected override stopped(): void {
    this.#done(this.#answers);
  }

  receive(letter: Letter, from: Address): void {
    if (letter.kind === this.#what && (letter as Answer).nonce === this.#nonce) {
      if (this.#asked.has(from)) this.#answers.push(letter);
      this.#asked.delete(from);
    } else if (letter.kind === "down") {
      this.#asked.delete(letter.address);
    }
    if (this.#asked.size === 0) this.#leave();
  }

  #leave(): void {
    this.desk.dismiss(this.address, "the inquiry is over");
  }
}
