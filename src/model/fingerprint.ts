/**
 * A digest of a value, for comparing two values without keeping the first. Equal values have
 * equal digests, in whichever order their objects' keys, Maps and Sets are.
 *
 * It has 128 bits and is not cryptographic: collisions can be constructed, so use it only if a
 * collision harms only the one who made it.
 */

/** The digest of a value that can be sent, as 32 hexadecimal digits. */
export function fingerprint(value: unknown): string {
  const digest = new Digest();
  add(digest, value);
  return digest.text();
}

/** Four words of 32 bits, each mixed with the next (the hash known as cyrb128). */
class Digest {
  #a = 0x6a09e667;
  #b = 0xbb67ae85;
  #c = 0x3c6ef372;
  #d = 0xa54ff53a;

  add(text: string): void {
    for (let i = 0; i < text.length; i++) this.unit(text.charCodeAt(i));
  }

  unit(unit: number): void {
    this.#a = this.#b ^ Math.imul(this.#a ^ unit, 0x239b961b);
    this.#b = this.#c ^ Math.imul(this.#b ^ unit, 0xab0e9789);
    this.#c = this.#d ^ Math.imul(this.#c ^ unit, 0x38b34ae5);
    this.#d = this.#a ^ Math.imul(this.#d ^ unit, 0xa1e38b93);
  }

  text(): string {
    // The last input has reached only a few bits of some words.
    for (let round = 0; round < 8; round++) this.unit(round);
    return [this.#a, this.#b, this.#c, this.#d]
      .map((word) => ((word ^ (word >>> 15)) >>> 0).toString(16).padStart(8, "0")).join("");
  }
}

/** Each part with its kind and length, so that no two values give the same text. */
function add(digest: Digest, value: unknown): void {
  switch (typeof value) {
    case "string":
      return addText(digest, value);
    case "number":
      return digest.add(`d${value === 0 ? 0 : value};`);
    case "bigint":
      // As on the wire: within ±2^53 it comes back as a number.
      return digest.add(Number.isSafeInteger(Number(value)) ? `d${value};` : `b${value};`);
    case "object":
      return value === null ? digest.add("n") : addObject(digest, value);
    default:
      return digest.add(value === undefined ? "u" : `${value};`);
  }
}

function addText(digest: Digest, text: string): void {
  // Halves of surrogate pairs are sent as U+FFFD.
  const whole = text.toWellFormed();
  digest.add(`s${whole.length}:`);
  digest.add(whole);
}

function addObject(digest: Digest, value: object): void {
  if (Array.isArray(value)) {
    digest.add(`a${value.length}:`);
    for (let i = 0; i < value.length; i++) add(digest, value[i]);
  } else if (value instanceof Uint8Array) {
    digest.add(`x${value.length}:`);
    for (let i = 0; i < value.length; i++) digest.unit(value[i] as number);
  } else if (value instanceof Date) {
    digest.add(`t${value.getTime()};`);
  } else if (value instanceof Map) {
    addSorted(digest, "m", Array.from(value, fingerprint));
  } else if (value instanceof Set) {
    addSorted(digest, "e", Array.from(value, fingerprint));
  } else {
    // JSON leaves out undefined properties.
    const fields = Object.entries(value).filter(([, item]) => item !== undefined);
    digest.add(`o${fields.length}:`);
    for (const [name, item] of fields.sort(([one], [other]) => one < other ? -1 : 1)) {
      addText(digest, name);
      add(digest, item);
    }
  }
}

function addSorted(digest: Digest, kind: string, digests: string[]): void {
  digest.add(`${kind}${digests.length}:${digests.sort().join("")}`);
}
