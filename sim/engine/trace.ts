/**
 * The trace of a simulation: a hash of all events, and optionally the last remarks as text. Two
 * runs have the same hash only if the same events happened at the same times.
 *
 * Source: MurmurHash3's mixing step (Austin Appleby, public domain), in two words.
 */

/** Remarks kept for a report. */
const KEPT = 4_000;

const float = new Float64Array(1);
const words = new Uint32Array(float.buffer);

export class Trace {
  #a = 0x243f6a88;
  #b = 0x85a308d3;
  readonly #isKept: boolean;
  readonly #lines: string[] = [];
  #now = 0;

  /** @param isKept whether remarks are kept as text, which costs time. */
  constructor(isKept: boolean) {
    this.#isKept = isKept;
  }

  /** An event is about to run. */
  event(at: number, sequence: number): void {
    this.#now = at;
    float[0] = at;
    this.#mix(words[0] as number);
    this.#mix(words[1] as number);
    this.#mix(sequence);
  }

  /**
   * Records that something happened within the running event. `what` is a short text that is the
   * same in every run.
   */
  note(what: string, ...details: readonly (string | number | boolean | null)[]): void {
    for (let i = 0; i < what.length; i++) this.#mix(what.charCodeAt(i));
    for (const detail of details) {
      if (typeof detail === "number") {
        float[0] = detail;
        this.#mix(words[0] as number);
        this.#mix(words[1] as number);
      } else {
        const text = String(detail);
        for (let i = 0; i < text.length; i++) this.#mix(text.charCodeAt(i));
      }
    }
    if (!this.#isKept) return;
    if (this.#lines.length >= 2 * KEPT) this.#lines.splice(0, KEPT);
    this.#lines.push(`${this.#now.toFixed(3).padStart(10)}  ${[what, ...details].join(" ")}`);
  }

  /** The hash so far: 16 hexadecimal digits. */
  get hash(): string {
    return [this.#a, this.#b].map((word) => (word >>> 0).toString(16).padStart(8, "0")).join("");
  }

  /** The last remarks, at most `count`; none if they were not kept. */
  last(count: number): readonly string[] {
    return this.#lines.slice(-count);
  }

  #mix(word: number): void {
    let k = Math.imul(word, 0xcc9e2d51);
    k = Math.imul((k << 15) | (k >>> 17), 0x1b873593);
    const a = this.#a ^ k;
    this.#a = (Math.imul((a << 13) | (a >>> 19), 5) + 0xe6546b64) | 0;
    const b = this.#b ^ this.#a;
    this.#b = (Math.imul((b << 11) | (b >>> 21), 0x85ebca6b) + word) | 0;
  }
}
