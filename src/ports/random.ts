/** The port for randomness: all random numbers of the core come from here. */
export interface Random {
  /** A number ≥ 0 and < 1. */
  next(): number;
  /** A UUID, version 4 (RFC 9562). MUST never repeat among all nodes that share a store. */
  uuid(): string;
}
