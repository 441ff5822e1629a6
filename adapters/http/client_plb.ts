/**
 * What stands behind a client's proxy: a cloakroom ticket. The balancer itself is at the node
 * that sold the ticket; where that lost it, the client buys another and asks again.
 *
 * Takes calls; sends each over its purchase, and gives the answers. Figures are the node's, as
 * it told them last, with this client's own calls. Browser-safe.
 */
import { AtlasError, isAtlasError } from "../../src/errors.ts";
import type { Balancer, DiscoverOptions, ModuleCallResult } from "../../src/lambda/api.ts";
import { noFunction, wasClosed } from "../../src/lambda/module_call.ts";
import { encodeValue } from "../../src/model/value.ts";
import { before } from "./before.ts";
import { isNoPurchase } from "./errors.ts";
import { NO_WAIT_HEADER, PURCHASE_HEADER } from "./inputs.ts";
import { checkTimeout, encodeArguments, functionPath } from "./outgoing.ts";
import type { PurchaseView } from "./purchases.ts";
import type { Outgoing, Requester } from "./requester.ts";

/** How old figures may be before the node is asked again, ms. */
const FRESH_MS = 250;

/** What is bought; both times are checked. */
export interface ClientPlbOptions extends DiscoverOptions {
  timeoutMs: number;
  callTimeoutMs: number;
}

export class ClientPlb implements Balancer {
  readonly #request: Requester;
  readonly #module: string;
  readonly #options: ClientPlbOptions;
  #view: PurchaseView | null = null;
  #hasTicket = false;
  #buying: Promise<void> | null = null;
  #looking: Promise<void> | null = null;
  #lookedAt = 0;
  #calls = 0;
  #running = 0;
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
  }

  readonly capacity: Balancer["capacity"] = () => {
    this.#lookAgain();
    return Math.max(0, (this.#view?.granted ?? 0) - this.#running);
  };

  readonly stats: Balancer["stats"] = () => {
    this.#lookAgain();
    const { version = null, granted = 0, waits = 0, waitedMs = 0, channels = [] } = this.#view ??
      {};
    return {
      module: this.#module,
      version,
      wanted: this.#options.capacity ?? 1,
      granted,
      tokens: Math.max(0, granted - this.#running),
      waiting: Math.max(0, this.#running - granted),
      running: Math.min(this.#running, granted),
      calls: this.#calls,
      waits,
      waitedMs,
      channels,
    };
  };

  readonly call: Balancer["call"] = async (name, args, options = {}) => {
    const { timeoutMs = this.#options.callTimeoutMs, noWait = false, signal } = options;
    const deadline = performance.now() + checkTimeout(timeoutMs);
    const outgoing: Omit<Outgoing, "timeoutMs"> = {
      method: "POST",
      path: functionPath(this.#module, name),
      body: encodeArguments(args),
      signal,
      isImpatient: noWait || this.#options.noWait === true,
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

  /** @throws AtlasError `unavailable`, `not_found` */
  async #check(name: string): Promise<void> {
    if (this.#closing) throw wasClosed(this.#module);
    if (this.exports.includes(name)) return;
    // The node may have newer code by now.
    await this.#look();
    if (this.exports.includes(name)) return;
    const { version, functions } = this.#view as PurchaseView;
    throw noFunction(this.#module, { version, exports: functions }, name);
  }

  async #send(
    outgoing: Omit<Outgoing, "timeoutMs">,
    noWait: boolean,
    deadline: number,
  ): Promise<ModuleCallResult> {
    for (let isSecond = false;; isSecond = true) {
      await this.#ticket(deadline, outgoing.signal);
      const { id, version } = this.#view as PurchaseView;
      const headers = { [PURCHASE_HEADER]: id, ...noWait && { [NO_WAIT_HEADER]: "1" } };
      const timeoutMs = Math.max(1, deadline - performance.now());
      try {
        const answer = await this.#request({ ...outgoing, headers, timeoutMs }) as ModuleCallResult;
        if (answer.version !== version) this.#look();
        return answer;
      } catch (error) {
        if (!isAtlasError(error) || !isNoPurchase(error)) throw error;
        if (this.#view?.id === id) this.#hasTicket = false;
        if (this.#closing) throw wasClosed(this.#module);
        if (isSecond) throw unsteady(error);
      }
    }
  }

  /** Sees to it that there is a purchase: all calls that find none wait for one. */
  async #ticket(deadline: number, signal: AbortSignal | undefined): Promise<void> {
    if (this.#hasTicket) return;
    this.#buying ??= this.#buy(undefined).finally(() => this.#buying = null);
    await before(deadline, signal, this.#buying, `${this.#module}: capacity was not bought again`);
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
    this.#hasTicket = true;
    this.#lookedAt = performance.now();
  }

  #lookAgain(): void {
    if (this.#hasTicket && performance.now() - this.#lookedAt > FRESH_MS) this.#look();
  }

  /** Asks for the node's figures. Never rejects. */
  #look(): Promise<void> {
    return this.#looking ??= this.#ask().catch(() => {}).finally(() => this.#looking = null);
  }

  async #ask(): Promise<void> {
    const { id } = this.#view as PurchaseView;
    const { callTimeoutMs: timeoutMs } = this.#options;
    this.#lookedAt = performance.now();
    const view = await this.#request({ method: "GET", path: `/v1/purchases/${id}`, timeoutMs });
    if (this.#view?.id === id) this.#view = view as PurchaseView;
  }

  /** Gives the capacity back. A node that can't be told does so by itself after a while. */
  async #end(): Promise<void> {
    await this.#buying?.catch(() => {});
    if (!this.#hasTicket) return;
    this.#hasTicket = false;
    const path = `/v1/purchases/${(this.#view as PurchaseView).id}`;
    const { callTimeoutMs: timeoutMs } = this.#options;
    await this.#request({ method: "DELETE", path, timeoutMs }).catch(() => {});
  }
}

/** A purchase that was made just now is unknown where its call arrived. */
function unsteady(cause: AtlasError): AtlasError {
  const message = "a purchase was lost as soon as it was made: several nodes behind one address " +
    "need sessions that stick to one, or use request()";
  return new AtlasError("unavailable", message, { cause });
}
