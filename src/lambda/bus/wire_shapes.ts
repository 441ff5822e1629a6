/**
 * Encodes the fields of messages for the wire, and validates and decodes those that come in.
 *
 * Takes values and gives what MessagePack encodes; or the reverse, or throws `bad_request`.
 * Processes get validated fields only.
 */
import { AtlasError, type WireError } from "../../errors.ts";
import type { Peer } from "../../ports/transport.ts";
import { type Address, addressOf, nodeOf, processOf } from "./address.ts";

/** The wire form of one type. `self` is the incarnation of the node that writes or reads. */
export interface Shape<T> {
  write(value: T, self: string): unknown;
  /** @throws AtlasError `bad_request` */
  read(wire: unknown, self: string): T;
}

/** Default longest text of a field, in characters. */
const MAX_TEXT = 256;
const MAX_ADDRESS_TEXT = 2_048;

function plain<T>(what: string, isIt: (wire: unknown) => boolean): Shape<T> {
  return {
    write: (value) => value,
    read(wire) {
      if (isIt(wire)) return wire as T;
      throw new AtlasError("bad_request", `a field of a message is not ${what}`);
    },
  };
}

/** Text of at most `most` characters for which `isFit` holds. */
export function text(most: number = MAX_TEXT, isFit?: (text: string) => boolean): Shape<string> {
  return plain(
    `text of at most ${most} characters`,
    (wire) => typeof wire === "string" && wire.length <= most && (isFit?.(wire) ?? true),
  );
}

/** A whole number from 0 to `most`. */
export function whole(most: number = Number.MAX_SAFE_INTEGER): Shape<number> {
  return plain(
    `a whole number up to ${most}`,
    (wire) => Number.isSafeInteger(wire) && (wire as number) >= 0 && (wire as number) <= most,
  );
}

export function oneOf<T extends string>(...words: readonly T[]): Shape<T> {
  return plain(`one of ${words.join(", ")}`, (wire) => words.includes(wire as T));
}

export const wireError: Shape<WireError> = plain(
  "an error",
  (wire) =>
    Array.isArray(wire) && wire.length === 4 && typeof wire[0] === "string" &&
    typeof wire[1] === "string" && typeof wire[2] === "boolean" && typeof wire[3] === "boolean",
);

/**
 * The address of a process; addresses of the reader's own processes are decoded without the
 * incarnation.
 */
export const address: Shape<Address> = {
  write: (value, self) => nodeOf(value) === "" ? self + value : value,
  read(wire, self) {
    const value = text().read(wire, self);
    if (!/^[^/]+\/[^/]+$/.test(value)) {
      throw new AtlasError("bad_request", "a field of a message is not the address of a process");
    }
    return nodeOf(value) === self ? addressOf("", processOf(value)) : value;
  },
};

export function maybe<T>(shape: Shape<T>): Shape<T | null> {
  return {
    write: (value, self) => value === null ? null : shape.write(value, self),
    read: (wire, self) => wire === null ? null : shape.read(wire, self),
  };
}

export function list<T>(shape: Shape<T>, most: number): Shape<readonly T[]> {
  return {
    write: (values, self) => values.map((value) => shape.write(value, self)),
    read(wire, self) {
      if (Array.isArray(wire) && wire.length <= most) {
        return wire.map((item) => shape.read(item, self));
      }
      throw new AtlasError("bad_request", `a field of a message is not a list of at most ${most}`);
    },
  };
}

/** The shape of each field, in the order in which they travel. */
export type Fields<T> = { readonly [K in keyof T]-?: Shape<T[K]> };

export function record<T extends object>(fields: Fields<T>): Shape<T> {
  const row = new Row(fields);
  return {
    write(value, self) {
      const wire: unknown[] = [];
      row.write(value, self, wire);
      return wire;
    },
    read(wire, self) {
      if (!Array.isArray(wire)) {
        throw new AtlasError("bad_request", "a field of a message is not a list");
      }
      const value = {} as T;
      row.read(wire, 0, self, value);
      return value;
    },
  };
}

/** Consecutive fields: of a record, or of a message after the number of its kind. */
export class Row<T extends object> {
  readonly #names: readonly (keyof T & string)[];
  readonly #shapes: readonly Shape<unknown>[];

  constructor(fields: Fields<T>) {
    this.#names = Object.keys(fields) as (keyof T & string)[];
    this.#shapes = Object.values(fields);
  }

  /** Appends the fields of `value` to `wire`. */
  write(value: T, self: string, wire: unknown[]): void {
    // An index loop, because every message on every link passes here.
    for (let at = 0; at < this.#names.length; at++) {
      const field = value[this.#names[at] as keyof T];
      wire.push((this.#shapes[at] as Shape<unknown>).write(field, self));
    }
  }

  /** Reads the fields from `wire[start]` on into `value`. @throws AtlasError `bad_request` */
  read(wire: readonly unknown[], start: number, self: string, value: T): void {
    // A newer version may send more fields.
    if (wire.length < start + this.#names.length) {
      throw new AtlasError("bad_request", "a message lacks a field");
    }
    for (let at = 0; at < this.#names.length; at++) {
      const shape = this.#shapes[at] as Shape<T[keyof T]>;
      value[this.#names[at] as keyof T] = shape.read(wire[start + at], self);
    }
  }
}

/** A node and the address where it is dialled. */
export const peer: Shape<Peer> = record<Peer>({
  region: text(),
  node: text(),
  incarnation: text(),
  address: text(MAX_ADDRESS_TEXT),
});
