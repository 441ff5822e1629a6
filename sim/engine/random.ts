/**
 * Seeded random numbers: one independent stream per seed and name, so that drawing more in one
 * place (the network) changes nothing in another (the faults).
 *
 * Source: sfc32 of Chris Doty-Humphrey's PractRand, seeded through splitmix32 (after Steele, Lea
 * and Flood, "Fast Splittable Pseudorandom Number Generators", 2014).
 */
import type { Random } from "../../src/ports/random.ts";

/** A deterministic stream of random numbers, the same on every runtime: 32-bit integers only. */
export class SeededRandom implements Random {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  /** The stream called `name` of `seed`; `seed` is a whole number. */
  constructor(seed: number, name: string) {
    let state = mix(seed | 0) ^ mix(Math.floor(seed / 2 ** 32) | 0);
    for (let i = 0; i < name.length; i++) state = mix(state ^ name.charCodeAt(i));
    this.#a = state = mix(state);
    this.#b = state = mix(state);
    this.#c = mix(state);
    for (let i = 0; i < 12; i++) this.bits();
  }

  /** 32 random bits, unsigned. */
  bits(): number {
    const sum = (this.#a + this.#b + this.#counter++) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0;
    return sum >>> 0;
  }

  next(): number {
    return this.bits() / 2 ** 32;
  }

  /** A whole number, 0 ≤ n < `below`. */
  below(below: number): number {
    return Math.floor(this.next() * below);
  }

  /** A number, `from` ≤ x < `to`. */
  between(from: number, to: number): number {
    return from + this.next() * (to - from);
  }

  /** True with this probability. Draws nothing if it is 0. */
  chance(probability: number): boolean {
    return probability > 0 && this.next() < probability;
  }

  /** One of them. */
  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)] as T;
  }

  uuid(): string {
    const a = hex(this.bits());
    const b = hex((this.bits() & 0xffff0fff) | 0x4000);
    const c = hex((this.bits() & 0x3fffffff) | 0x80000000);
    const d = hex(this.bits());
    return `${a}-${b.slice(0, 4)}-${b.slice(4)}-${c.slice(0, 4)}-${c.slice(4)}${d}`;
  }
}

/** One step of splitmix32: every bit of the output depends on every bit of the input. */
function mix(state: number): number {
  let z = (state + 0x9e3779b9) | 0;
  z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
  z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
  return z ^ (z >>> 15);
}

function hex(bits: number): string {
  return (bits >>> 0).toString(16).padStart(8, "0");
}
