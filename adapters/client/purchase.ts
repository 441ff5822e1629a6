/**
 * A client's proxy over a purchase at a node. The load balancer runs at that node. If the node lost
 * the purchase, the client buys again and repeats the call.
 *
 * Takes calls; sends each over its purchase, and gives the answers. Figures are the node's, with
 * this client's own calls. While the proxy is open and referenced, the client asks the node for
 * figures repeatedly, which keeps the purchase; this keeps no process alive. Browser-safe.
 */
import type { Balancer, DiscoverOptions, ModuleCallResult } from "../../src/api/modules.ts";
import { AtlasError, isAtlasError } from "../../src/errors.ts";
import { checkCall, closedError, noFunctionError } from "../../src/lambda/buy/module_call.ts";
import { wantedOf } from "../../src/lambda/market_options.ts";
import { PURCHASE_IDLE_MS } from "../../src/limits.ts";
import { checkMs } from "../../src/model/options.ts";
import { encodeValue } from "../../src/model/value.ts";
import type { PurchaseView } from "../http/purchases.ts";
import { isNoPurchase } from "../http_wire/errors.ts";
import { NO_WAIT_HEADER, PURCHASE_HEADER } from "../http_wire/inputs.ts";
import { encodeArguments, functionPath } from "./options.ts";
import type { HttpRequest, Requester } from "./retrying_requester.ts";

/** How long after its last answer the node is asked again, in ms. */
const LOOK_MS = 500;

/** What is bought; both times are checked. */
export interface ClientPlbOptions extends DiscoverOptions {
  timeoutMs: number;
  callTimeoutMs: number;
}

export class ClientPlb implements Balancer {
  readonly #request: Requester;
  readonly #module: string;
  readonly #options: ClientPlbOptions;
  /** The node's last view of the last purchase. */
  #view: PurchaseView | null = null;
  /** Whether the node has the purchase, as far as the client knows. */
  #hasPurchase = false;
  /** Whether the last question to the node was answered. */
  #isReachable = false;
  /** The time from which it may buy again without a call, by `performance.now()`. */
  #buysFrom = 0;
  #buying: Promise<void> | null = null;
  #looking: Promise<void> | null = null;
  #calls = 0;
  #running = 0;
  readonly #over = new AbortController();
  #closing: Promise<void> | null = null;

  constructor(request: Requester, module: string, options: ClientPlbOptions) {
    this.#request = request;
    this.#module = module;
    this.#options = options;
  }

  /** The names that can be called. */
  get exports(): readonly string[] {
    return this.#view?.functions ?? [];
  }

  /** Buys for the first time. @throws AtlasError as `discover` */
  async open(): Promise<void> {
    await this.#buy(this.#options.signal);
    ClientPlb.#watch(new WeakRef(this));
  }

  /** Refreshes figures and purchase, until the proxy is collected; keeps no process alive. */
  static #watch(known: WeakRef<ClientPlb>): void {
    const timer: number | { unref?(): void } = setTimeout(async () => {
      const plb = known.deref();
      if (plb && await plb.#isKept()) ClientPlb.#watch(known);
    }, LOOK_MS);
    if (typeof timer === "object") timer.unref?.();
  }

  readonly capacity: Balancer["capacity"] = () =>
    Math.max(0, (this.#inHand?.granted ?? 0) - this.#running);

  readonly stats: Balancer["stats"] = () => {
    const { version = null, granted = 0, orders = [], channels = [] } = this.#inHand ?? {};
    const { waits = 0, waitedMs = 0 } = this.#view ?? {};
    // `close` rejects calls that wait.
    const running = this.#closing ? this.#running : Math.min(this.#running, granted);
    return {
      module: this.#module,
      version,
      wanted: wantedOf(this.#options),
      granted,
      tokens: Math.max(0, granted - this.#running),
      waiting: this.#running - running,
      running,
      calls: this.#calls,
      waits,
      waitedMs,
      orders,
      channels,
    };
  };

  readonly call: Balancer["call"] = async (name, args, options = {}) => {
    const { callTimeoutMs } = this.#options;
    const { timeoutMs = callTimeoutMs, noWait = false, signal } = checkCall(options);
    const deadline = performance.now() + checkMs("timeoutMs", timeoutMs);
    const outgoing: Omit<HttpRequest, "timeoutMs"> = {
      method: "POST",
      path: functionPath(this.#module, name),
      body: encodeArguments(args),
      signal,
      isNoWait: noWait || this.#options.noWait === true,
    };
    await this.#check(name);
    this.#calls++;
    this.#running++;
    try {
      return await this.#send(outgoing, noWait, deadline);
    } finally {
      this.#running--;
    }
  };

  readonly close: Balancer["close"] = () => this.#closing ??= this.#end();

  /** The purchase, if there is one over which calls can be made. */
  get #inHand(): PurchaseView | null {
    return this.#hasPurchase && this.#isReachable && !this.#closing ? this.#view : null;
  }

  /** @throws AtlasError `unavailable`, `not_found` */
  async #check(name: string): Promise<void> {
    if (this.#closing) throw closedError(this.#module);
    if (this.exports.includes(name)) return;
    // The node may now offer newer code.
    await this.#look();
    if (this.exports.includes(name)) return;
    const { version, functions } = this.#view as PurchaseView;
    throw noFunctionError(this.#module, { version, exports: functions }, name);
  }

  async #send(
    outgoing: Omit<HttpRequest, "timeoutMs">,
    noWait: boolean,
    deadline: number,
  ): Promise<ModuleCallResult> {
    for (let isSecond = false;; isSecond = true) {
      await this.#ensurePurchase(deadline, outgoing.signal);
      const { id, version } = this.#view as PurchaseView;
      const headers = { [PURCHASE_HEADER]: id, ...noWait && { [NO_WAIT_HEADER]: "1" } };
      const timeoutMs = Math.max(1, deadline - performance.now());
      try {
        const answer = await this.#request({ ...outgoing, headers, timeoutMs }) as ModuleCallResult;
        if (answer.version !== version) this.#look();
        return answer;
      } catch (error) {
        if (!isAtlasError(error)) throw error;
        // The purchase's seller may have ended, so that it has no capacity.
        if (error.code === "unavailable") this.#look();
        if (!isNoPurchase(error)) throw error;
        if (this.#view?.id === id) this.#hasPurchase = false;
        if (this.#closing) throw closedError(this.#module);
        if (isSecond) throw unsteady(error);
      }
    }
  }

  /** Makes sure that there is a purchase. All calls that find none wait for the same new one. */
  async #ensurePurchase(deadline: number, signal: AbortSignal | undefined): Promise<void> {
    if (this.#hasPurchase) return;
    const what = `${this.#module}: capacity was not bought again`;
    await withDeadline(deadline, signal, this.#buyAgain(), what);
  }

  #buyAgain(): Promise<void> {
    return this.#buying ??= this.#buy(this.#over.signal)
      .catch((error) => {
        throw this.#closing ? closedError(this.#module) : error;
      })
      .finally(() => this.#buying = null);
  }

  async #buy(signal: AbortSignal | undefined): Promise<void> {
    const { timeoutMs, signal: _signal, ...options } = this.#options;
    const view = await this.#request({
      method: "POST",
      path: `/v1/modules/${this.#module}`,
      body: encodeValue(options, "options"),
      timeoutMs,
      signal,
    });
    this.#view = view as PurchaseView;
    this.#hasPurchase = true;
    this.#isReachable = true;
    // If several nodes share one address, each knows its own purchases only: an unusable purchase
    // is given back before another one is made.
    this.#buysFrom = performance.now() + PURCHASE_IDLE_MS;
  }

  /** Refreshes the purchase once; returns whether to continue. */
  async #isKept(): Promise<boolean> {
    if (this.#hasPurchase) await this.#look();
    else if (performance.now() >= this.#buysFrom) await this.#buyAgain().catch(() => {});
    return !this.#closing;
  }

  /** Reads the node's figures. Never rejects. */
  #look(): Promise<void> {
    return this.#looking ??= this.#ask().finally(() => this.#looking = null);
  }

  async #ask(): Promise<void> {
    const { id } = this.#view as PurchaseView;
    const { callTimeoutMs: timeoutMs } = this.#options;
    const path = `/v1/purchases/${id}`;
    try {
      const view = await this.#request({ method: "GET", path, timeoutMs, isSingle: true });
      if (this.#view?.id !== id) return;
      this.#view = view as PurchaseView;
      this.#isReachable = true;
    } catch (error) {
      if (this.#view?.id !== id) return;
      this.#isReachable = false;
      if (isAtlasError(error) && isNoPurchase(error)) this.#hasPurchase = false;
      // The node has stopped or is stopping.
      else this.#buysFrom = 0;
    }
  }

  /** Gives the capacity back. A node that can't be reached ends the purchase by itself. */
  async #end(): Promise<void> {
    this.#over.abort();
    await this.#buying?.catch(() => {});
    if (!this.#hasPurchase) return;
    this.#hasPurchase = false;
    const path = `/v1/purchases/${(this.#view as PurchaseView).id}`;
    const { callTimeoutMs: timeoutMs } = this.#options;
    await this.#request({ method: "DELETE", path, timeoutMs }).catch(() => {});
  }
}

/** The error of a call that reached a node which doesn't know the purchase that was just made. */
function unsteady(cause: AtlasError): AtlasError {
  const message = "a purchase was lost as soon as it was made: several nodes behind one address " +
    "need sessions that stick to one, or use request()";
  return new AtlasError("unavailable", message, { cause });
}

/**
 * The result of `work`; or `timeout` at `deadline` (of `performance.now()`) or once `signal`
 * aborts, while the work continues.
 *
 * @param what names what is missing at that time
 */
export function withDeadline<T>(
  deadline: number,
  signal: AbortSignal | undefined,
  work: Promise<T>,
  what: string,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const giveUp = (why: string): void =>
      reject(new AtlasError("timeout", `${what}: ${why}`, { cause: signal?.reason }));
    const onAbort = (): void => giveUp("the caller cancelled the call");
    const late = setTimeout(() => giveUp("the deadline passed"), deadline - performance.now());
    signal?.addEventListener("abort", onAbort, { once: true });
    if (signal?.aborted) onAbort();
    work.then(resolve, reject).finally(() => {
      clearTimeout(late);
      signal?.removeEventListener("abort", onAbort);
    });
  });
}
