/**
 * A node's own road to a store that others share: a bridge that can be closed, also with
 * somebody on it.
 */
import { AtlasError, type Store } from "../../mod.ts";

/** A view of a store that can be cut off. */
export interface Road {
  readonly store: Store;
  isCut: boolean;
  /** Applies the next commit, and loses its answer with all that comes after. */
  cutAtCommit: boolean;
}

/** A road of its own to `store`; closing the road's store leaves that open. */
export function roadTo(store: Store): Road {
  const cut = (): never => {
    throw new AtlasError("unavailable", "the store was cut off");
  };
  const road = { isCut: false, cutAtCommit: false, store } as {
    -readonly [K in keyof Road]: Road[K];
  };
  road.store = new Proxy(store, {
    get: (target, name) => {
      const value = Reflect.get(target, name);
      if (name === "status") return () => (road.isCut ? "down" : "up");
      if (name === "close") return () => Promise.resolve();
      if (typeof value !== "function") return value;
      return async (...args: unknown[]) => {
        if (road.isCut) cut();
        const answer = await value.apply(target, args);
        if (name === "commit" && road.cutAtCommit) road.isCut = true;
        if (road.isCut) cut();
        return answer;
      };
    },
  });
  return road;
}
