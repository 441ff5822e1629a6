/**
 * One node's connection to a store that several nodes share. A test can cut it, also in the middle
 * of a commit.
 */
import { AtlasError, type Store } from "../../mod.ts";

/** A view of a store that can be cut off. */
export interface StoreConnection {
  readonly store: Store;
  isCut: boolean;
  /** Applies the next commit, and loses its answer and everything that comes later. */
  cutAtCommit: boolean;
}

/** A connection to `store`; closing its store leaves the shared one open. */
export function connectionTo(store: Store): StoreConnection {
  const cut = (): never => {
    throw new AtlasError("unavailable", "the store was cut off");
  };
  const connection = { isCut: false, cutAtCommit: false, store } as {
    -readonly [K in keyof StoreConnection]: StoreConnection[K];
  };
  connection.store = new Proxy(store, {
    get: (target, name) => {
      const value = Reflect.get(target, name);
      if (name === "status") return () => (connection.isCut ? "down" : "up");
      if (name === "close") return () => Promise.resolve();
      if (typeof value !== "function") return value;
      return async (...args: unknown[]) => {
        if (connection.isCut) cut();
        const answer = await value.apply(target, args);
        if (name === "commit" && connection.cutAtCommit) connection.isCut = true;
        if (connection.isCut) cut();
        return answer;
      };
    },
  });
  return connection;
}
