/** Chance, as the core sees it. Everything that the core draws, it draws here. */
export interface Random {
  /** A number ≥ 0 and < 1. */
  next(): number;
  /** A UUID, version 4 (RFC 9562). MUST never repeat among all nodes that share a store. */
  uuid(): string;
}
