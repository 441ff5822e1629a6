/**
 * The port for races (`src/race/`): one contender's connection to a store, with the least that
 * any key-value store has.
 *
 * Every contender has a connection of its own, as every node has. Keys belong to the race alone;
 * values are short ASCII text.
 */
export interface RaceStore {
  /**
   * Which of several servers it is connected to: the same text for the same server. Absent: all
   * are connected to one. Keys are removed from each.
   */
  readonly master?: string;
  /** The value of `key`; null if the key has none. MUST be read as a node would read it. */
  get(key: string): Promise<string | null>;
  /** Writes `value` at `key`, overwriting. SHOULD let it expire later. */
  set(key: string, value: string): Promise<void>;
  /**
   * Writes `value` at `key` if the key has none, in one atomic step; answers the value afterwards.
   * MUST NOT be built of a get and a set.
   */
  claim(key: string, value: string): Promise<string>;
  /** Deletes these keys, at most 100. */
  remove(keys: readonly string[]): Promise<void>;
}
