/**
 * The suite for stores. Takes a way to open stores; declares vitest cases. The contract is the
 * port, `src/ports/store.ts`.
 */
import { afterAll, beforeAll, describe } from "vitest";
import type { Store } from "../../src/ports/store.ts";
import { answersTests } from "./store_answers.ts";
import { endsTests } from "./store_ends.ts";
import { hostileTests } from "./store_hostile.ts";
import { lineageTests } from "./store_lineage.ts";
import { membershipTests } from "./store_membership.ts";
import { ownershipTests } from "./store_ownership.ts";
import { partsTests } from "./store_parts.ts";
import { stateTests } from "./store_state.ts";
import { unless } from "../support/unless.ts";

/** One backend, made for one run of the suite. */
export interface StoreBackend {
  /** Opens a handle on it, which has its own connection if the store uses connections. */
  open(): Promise<Store>;
  /**
   * Kills the backend and restarts it with its data on disk; handles may need some time, or have to
   * be reopened. Absent if nothing outlives the process.
   */
  crash?(): Promise<void>;
  /** Writes to the backend directly, as other programs may; absent if no other program can. */
  readonly writer?: HostileWriter;
  /** Whether its keys lie in several stores or masters, which have no common lineage. */
  readonly isParted?: boolean;
  /** Ends it for good, after all handles are closed. */
  dispose(): Promise<void>;
}

/** A member's row as another program writes it: each part as text, exactly as it is stored. */
export interface RawMember {
  readonly incarnation: string;
  readonly region: string;
  readonly node: string;
  readonly address: string;
  /** JSON, or text in its place. */
  readonly hosts: string;
  readonly seq: string;
  readonly state: string;
  /** All of the member's own fields, if a store keeps them in one text. */
  readonly info?: string;
}

/** Writes rows that no store of this package would write. */
export interface HostileWriter {
  member(row: RawMember): Promise<void>;
  /** Replaces the seq of a member that is there. */
  seq(incarnation: string, seq: string): Promise<void>;
  /** Overwrites a member's own fields, and leaves the rest. */
  corruptMember(incarnation: string): Promise<void>;
  /** An ownership of `key` with this epoch and pointer. */
  owner(key: string, epoch: string, rrp: string): Promise<void>;
  /** The last turn of a key. */
  turn(key: string, epoch: string, turn: string): Promise<void>;
  /** The epoch counter of the key's slot. */
  counter(key: string, text: string): Promise<void>;
  /** The counter of membership's versions. */
  version(text: string): Promise<void>;
  /**
   * Removes what a key has of one part; absent if the backend doesn't keep the parts separately.
   */
  remove?(key: string, part: "own" | "state" | "index" | "epoch"): Promise<void>;
}

/** What the tests work with. */
export interface Stores {
  /** The first handle. */
  readonly store: Store;
  /** Several handles on one backend, `store` among them. */
  readonly handles: readonly Store[];
  readonly backend: StoreBackend;
}

const HANDLES = 4;

/** Runs the whole suite on the backend that `make` gives; `skip` says why it can't be run. */
export function storeConformance(
  name: string,
  make: () => Promise<StoreBackend>,
  skip: string | null = null,
): void {
  const title = skip === null ? name : `${name} (skipped: ${skip})`;
  describe(title, unless(skip), () => {
    const stores = {} as { store: Store; handles: Store[]; backend: StoreBackend };
    beforeAll(async () => {
      stores.backend = await make();
      stores.handles = await Promise.all(
        Array.from({ length: HANDLES }, () => stores.backend.open()),
      );
      stores.store = stores.handles[0] as Store;
    });
    afterAll(async () => {
      await Promise.all((stores.handles ?? []).map((handle) => handle.close()));
      await stores.backend?.dispose();
    });
    membershipTests(stores);
    ownershipTests(stores);
    answersTests(stores);
    stateTests(stores);
    lineageTests(stores);
    hostileTests(stores);
    partsTests(stores);
    endsTests(stores);
  });
}
