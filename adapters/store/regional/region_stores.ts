/**
 * The stores of all regions, each opened when it is first needed. Takes a region and a step; gives
 * the step's answer, or `unavailable` with the region's name if that region can't be reached.
 */
import { AtlasError, isAtlasError, messageOf } from "../../../src/errors.ts";
import type { NodeEvent } from "../../../src/model/node_event.ts";
import { registryErrorForCallers } from "../../../src/model/out_of_reach.ts";
import type { Store } from "../../../src/ports/store.ts";
import { closedError, publicError } from "../check.ts";
import { sameStore } from "./options.ts";

/** A store, or a function that opens it. */
export type StoreOrOpener = Store | (() => Promise<Store>);

export class RegionalStores {
  readonly regions: readonly string[];
  readonly #sources: ReadonlyMap<string, StoreOrOpener>;
  readonly #self: string;
  readonly #onEvent: (event: NodeEvent) => void;
  /** Regions whose stores can't be opened, and for which that was logged. */
  readonly #refusing = new Set<string>();
  readonly #opening = new Map<string, Promise<Store>>();
  /** The region of each open store. */
  readonly #owners = new Map<Store, string>();
  #isClosed = false;

  constructor(
    sources: Readonly<Record<string, StoreOrOpener>>,
    self: string,
    onEvent: (event: NodeEvent) => void = () => {},
  ) {
    this.#sources = new Map(Object.entries(sources));
    this.#self = self;
    this.#onEvent = onEvent;
    this.regions = [...this.#sources.keys()];
    for (const [region, source] of this.#sources) {
      if (typeof source !== "function") this.#owners.set(source, region);
    }
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  has(region: string): boolean {
    return this.#sources.has(region);
  }

  /** Runs a step at a region's store. @throws AtlasError that names the region */
  async at<T>(region: string, step: (store: Store) => Promise<T>): Promise<T> {
    if (this.#isClosed) throw closedError();
    const store = await this.#open(region).catch((error) => {
      throw this.#unopened(region, error);
    });
    try {
      return await step(store);
    } catch (error) {
      throw registryErrorForCallers(error, region);
    }
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const open = [...this.#opening.values()];
    for (const source of this.#sources.values()) {
      if (typeof source !== "function") open.push(Promise.resolve(source));
    }
    await Promise.allSettled(open.map(async (store) => (await store).close()));
  }

  #open(region: string): Promise<Store> {
    const source = this.#sources.get(region);
    if (!source) return Promise.reject(publicError("no store of that region is configured"));
    if (typeof source !== "function") return Promise.resolve(source);
    let opening = this.#opening.get(region);
    if (!opening) {
      this.#opening.set(region, opening = this.#opened(region, source));
      // The next step tries to open it again.
      opening.catch(() => this.#opening.delete(region));
    }
    return opening;
  }

  /**
   * Logs why a region's store can't be opened. Another region's wrong address or credentials are a
   * fault of this node's settings, so callers get `unavailable`, and only the log has the reason.
   */
  #unopened(region: string, error: unknown): unknown {
    const code = isAtlasError(error) ? error.code : null;
    if (code === "unavailable") return registryErrorForCallers(error, region);
    if (region === this.#self) return code ? ofSetting(region, error as AtlasError) : error;
    if (!this.#refusing.has(region)) {
      this.#refusing.add(region);
      const fields = { region, code, reason: messageOf(error) };
      this.#onEvent({ level: "error", event: "registry can't be opened", fields });
    }
    return publicError(
      `region ${region}: its registry can't be opened, see this node's log`,
      error,
    );
  }

  /**
   * A store that opens only after the close is closed at once; a store of another region is
   * refused.
   */
  async #opened(region: string, source: () => Promise<Store>): Promise<Store> {
    const store = await source();
    if (this.#isClosed) {
      await store.close();
      throw closedError();
    }
    const other = this.#owners.get(store) ?? region;
    if (other !== region) throw sameStore(region, other);
    this.#owners.set(store, region);
    return store;
  }
}

/** The same error with the region, as one of this node's own settings. */
function ofSetting(region: string, error: AtlasError): AtlasError {
  const { code, message, retryable, maybeExecuted } = error;
  const options = { cause: error, retryable, maybeExecuted };
  return new AtlasError(code, `region ${region}: ${message}`, options);
}
