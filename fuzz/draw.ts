/**
 * Random numbers, bytes, texts and mutations for hostile input, determined by a seed and the
 * input's number.
 */
import { SeededRandom } from "../sim/engine/random.ts";

/** Lengths at which codecs, buffers and limits change. */
const LENGTHS = [
  0,
  1,
  2,
  3,
  15,
  16,
  31,
  32,
  63,
  64,
  65,
  125,
  126,
  127,
  128,
  255,
  256,
  257,
  511,
  512,
  1_023,
  1_024,
  1_025,
  4_095,
  4_096,
  8_192,
  16_383,
  16_384,
  65_535,
  65_536,
];

export class Draw extends SeededRandom {
  /** A whole number, both ends included. */
  whole(from: number, to: number): number {
    return from + this.below(to - from + 1);
  }

  /** One of these, with a probability by weight. */
  weighted<T>(choices: readonly (readonly [weight: number, value: T])[]): T {
    let left = this.below(choices.reduce((sum, [weight]) => sum + weight, 0));
    for (const [weight, value] of choices) {
      left -= weight;
      if (left < 0) return value;
    }
    return (choices[0] as readonly [number, T])[1];
  }

  bytes(length: number): Buffer {
    const bytes = Buffer.allocUnsafe(length);
    for (let i = 0; i < length; i++) bytes[i] = this.bits();
    return bytes;
  }

  /** A length near one of the critical lengths, up to `most`. */
  length(most: number): number {
    const near = this.pick(LENGTHS) + this.whole(-1, 1);
    return Math.min(most, Math.max(0, this.chance(0.1) ? this.below(most + 1) : near));
  }

  /** Text of these characters. */
  text(length: number, characters: string): string {
    let text = "";
    for (let i = 0; i < length; i++) text += characters[this.below(characters.length)];
    return text;
  }

  /** A copy with up to `most` faults: bits flipped, parts removed, repeated, moved or new. */
  mutated(bytes: Uint8Array, most: number = 6): Buffer {
    let changed = Buffer.from(bytes);
    for (let left = this.whole(1, most); left > 0; left--) {
      const at = this.below(changed.length + 1);
      const end = Math.min(changed.length, at + this.whole(1, 16));
      const [before, part, after] = [
        changed.subarray(0, at),
        changed.subarray(at, end),
        changed.subarray(end),
      ];
      changed = Buffer.concat(
        this.pick([
          () => [before, part.map((byte) => byte ^ (1 << this.below(8))), after],
          () => [before, after],
          () => [before, part, part, after],
          () => [before, this.bytes(this.whole(1, 8)), part, after],
          () => [before, Buffer.from([this.pick([0, 9, 10, 13, 32, 127, 128, 255])]), after],
          () => [before],
        ])(),
      );
    }
    return changed;
  }
}
