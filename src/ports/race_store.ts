/**
 * The port for races (`src/race/`): one contender's connection to a store, with the least that
 * any key-value store has.
 *
 * Every contender has a connection of its own, as every node has. Keys belong to the race alone;
 * values are short ASCII text.
 */
export interface RaceStore {
  /**
   * Which of several servers it leads to: the same text for the same one. Left out: all lead
   * to one. Names are removed from each.
   */
  readonly master?: string;
  /** What stands at `key`; null where nothing does. MUST be read as a node would read it. */
  get(key: string): Promise<string | null>;
  /** Writes `value` at `key`, whatever stood there. SHOULD let it expire by itself later. */
  set(key: string, value: string): Promise<void>;
  /**
   * Writes `value` at `key` where nothing stands there, in one step; answers what stands
   * there afterwards. MUST NOT be built of a get and a set.
   */
  claim(key: string, value: string): Promise<string>;
  /** Removes these keys, at most 100, and what stands there. */
  remove(keys: readonly string[]): Promise<void>;
}
