/**
 * Detects whether a Redis may evict what Atlas keeps in it: ownerships, states and epochs, which
 * have no TTL. A store is not opened on such a Redis, unless `eviction=allow`; if the policy
 * changes later, a warning is logged.
 *
 * Takes INFO of a server; gives an error, or events for the node's log.
 *
 * Source: Redis' key eviction: `noeviction` evicts nothing, `volatile-…` only keys with a TTL.
 */
import { AtlasError } from "../../../src/errors.ts";
import type { NodeEvent } from "../../../src/model/node_event.ts";
import { refused } from "../check.ts";
import { fieldOf } from "./replies.ts";

export interface EvictionOptions {
  /**
   * `allow`: opens the store also on a Redis that may evict keys without TTL, and warns. Default:
   * such a Redis is refused.
   */
  eviction?: "allow";
  /** Gets events of what the store detects by itself. MUST NOT throw. */
  onEvent?: (event: NodeEvent) => void;
}

/** Whether a server evicts keys without TTL. */
type Verdict = "keeps" | "would evict" | "evicts";

/** By INFO's `maxmemory_policy` and `maxmemory`. A server that doesn't report them passes. */
export function verdictOf(about: unknown): Verdict {
  const policy = fieldOf(about, "maxmemory_policy");
  if (policy === "" || policy === "noeviction" || policy.startsWith("volatile-")) return "keeps";
  // These evict at the limit only, and there is no limit.
  const isUnlimited = policy.startsWith("allkeys-") && fieldOf(about, "maxmemory") === "0";
  return isUnlimited ? "would evict" : "evicts";
}

/** The `eviction` of a Redis URL's query. @throws AtlasError `bad_request` */
export function evictionOf(text: string | undefined): "allow" | undefined {
  if (text === undefined || text === "allow") return text;
  throw refused("Redis URL query", `eviction=${text}`, "eviction=allow, or left out");
}

/** Checks the servers of one store. */
export class EvictionMonitor {
  readonly #isAllowed: boolean;
  readonly #onEvent: (event: NodeEvent) => void;
  /** The last report about each server that may evict. */
  readonly #reported = new Map<string, string>();
  #isOpen = false;

  constructor({ eviction, onEvent }: EvictionOptions) {
    if (eviction !== undefined && eviction !== "allow") {
      throw refused("eviction", JSON.stringify(eviction), `"allow", or absent`);
    }
    this.#isAllowed = eviction === "allow";
    this.#onEvent = onEvent ?? (() => {});
  }

  /** The store is open: from now on a server that may evict is logged, not refused. */
  opened(): void {
    this.#isOpen = true;
  }

  /**
   * Checks INFO of a server.
   *
   * @param server its name in messages.
   * @throws AtlasError `bad_request` if it may evict, and the store isn't open yet
   */
  judge(server: string, about: unknown): void {
    const verdict = verdictOf(about);
    if (verdict === "keeps") return void this.#reported.delete(server);
    const policy = fieldOf(about, "maxmemory_policy");
    const maxmemory = fieldOf(about, "maxmemory") || "unknown";
    if (verdict === "evicts" && !this.#isAllowed && !this.#isOpen) {
      throw new AtlasError(
        "bad_request",
        `${server} has maxmemory-policy ${policy} (maxmemory ${maxmemory}): it may evict what ` +
          "Atlas keeps, which has no TTL; set noeviction or a volatile-… policy, or add " +
          "?eviction=allow to the registry's URL",
      );
    }
    const report = `${verdict} ${policy}`;
    if (this.#reported.get(server) === report) return;
    this.#reported.set(server, report);
    const isError = verdict === "evicts" && !this.#isAllowed;
    this.#onEvent({
      level: isError ? "error" : "warning",
      event: verdict === "evicts" ? "registry may evict" : "registry would evict at a limit",
      fields: { server, policy, maxmemory },
    });
  }
}
