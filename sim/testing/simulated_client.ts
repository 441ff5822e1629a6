/**
 * The client that a simulated workload uses: each call enters the cluster at another node.
 *
 * Carries calls and lookups to a node's process and the answers back, in virtual time, and records
 * them. A client belongs to no process: it survives the node that it called, and is notified when
 * that ends.
 */
import type { Balancer, ModuleAtlas } from "../../src/api/modules.ts";
import type { Atlas, AtlasNode } from "../../src/api/node.ts";
import { makeProxy } from "../../src/api/proxies.ts";
import { AtlasError, toAtlasError } from "../../src/errors.ts";
import { DEFAULT_DISCOVER_MS, DEFAULT_TIMEOUT_MS } from "../../src/limits.ts";
import { parseKey, resourceKey } from "../../src/model/rrp.ts";
import { type CallBackend, makeFacade } from "../../src/node/facade.ts";
import { type CallRecord, openRecord } from "../engine/history.ts";
import type { SeededRandom } from "../engine/random.ts";
import type { SimNode, World } from "../engine/world.ts";
import type { Reporter } from "../run/run_world.ts";
import type { SimulatedCall } from "./history.ts";

/**
 * The least and greatest one-way latency between a client and a node, ms. Never 0, so that a loop
 * of calls can't stop the clock.
 */
const NETWORK_MS = [0.1, 2] as const;
/** How much later than its deadline a call may return, ms: timers and clocks are not exact. */
const SLACK_MS = 200;
const SLACK_RATIO = 0.01;

/** The process of a call, and how long the client waits for it. */
interface ClientRequest {
  readonly sim: SimNode | undefined;
  readonly timeoutMs: number;
  readonly what: string;
}

export class SimulatedClient {
  /** The calls in the form for checkers. */
  readonly calls: CallRecord[] = [];
  /** The calls in the form for users. */
  readonly history: SimulatedCall[] = [];
  /** Keys that were called, and their type and id. */
  readonly keys: Map<string, { readonly type: string; readonly id: string }> = new Map();
  readonly #world: World;
  readonly #random: SeededRandom;
  readonly #healAt: number;
  readonly #report: (message: string) => void;

  /** @param healAt true time at which all calls must return, ms. */
  constructor(world: World, random: SeededRandom, healAt: number, report: Reporter) {
    this.#world = world;
    this.#healAt = healAt;
    this.#random = random;
    this.#report = report("returns");
  }

  /** The client named `caller`. */
  atlas(caller: string): Atlas {
    const exchange: CallBackend = {
      call: (target, method, args, options) => {
        const { id } = parseKey(target.key);
        return this.#call(caller, { ...target, id, method, args }, options);
      },
      result: async (...call) => (await exchange.call(...call)).result,
      lookup: (type, id, options) => this.lookup(caller, this.#pick(), type, id, options),
      members: () => this.#ask((node) => node.members(), "members()"),
      resources: (prefix, page) =>
        this.#ask((node) => node.resources(prefix, page), `resources(${prefix})`),
      count: (prefix, options) =>
        this.#ask((node) => node.count(prefix, options), `count(${prefix})`),
    };
    const modules = simulatedModules(() => {
      const sim = this.#pick();
      return (what, timeoutMs, ask) => this.#send({ sim, timeoutMs, what }, ask);
    });
    return makeFacade(exchange, modules, () => null);
  }

  async lookup(
    caller: string,
    sim: SimNode | undefined,
    type: string,
    id: string,
    options: Parameters<Atlas["lookup"]>[2] = {},
  ): ReturnType<Atlas["lookup"]> {
    const { timeoutMs = DEFAULT_TIMEOUT_MS } = options;
    const key = resourceKey(type, id);
    const record = this.#record("lookup", caller, sim, key, null, timeoutMs);
    try {
      const request = { sim, timeoutMs, what: `the lookup of ${key}` };
      const looked = await this.#send(request, (node) => node.lookup(type, id, options));
      const { rrp, epoch, verdict } = looked;
      this.#returned(record, { outcome: "ok", rrp, epoch, verdict });
      return looked;
    } catch (error) {
      this.#returned(record, failed(toAtlasError(error)));
      throw error;
    }
  }

  /** Calls a method through one process, without a record. */
  send(
    sim: SimNode,
    type: string,
    id: string,
    method: string,
    timeoutMs: number,
  ): Promise<unknown> {
    const request = { sim, timeoutMs, what: `a call to ${resourceKey(type, id)}` };
    return this.#send(request, (node) => node.call(type, id, method, [], { timeoutMs }));
  }

  async #call(
    caller: string,
    call: Pick<SimulatedCall, "type" | "id" | "method" | "args"> & { key: string },
    options: NonNullable<Parameters<Atlas["call"]>[4]>,
  ): ReturnType<Atlas["call"]> {
    const { key, type, id, method, args } = call;
    this.keys.set(key, { type, id });
    const { timeoutMs = DEFAULT_TIMEOUT_MS, idempotencyKey = null } = options;
    const sim = this.#pick();
    const record = this.#record("call", caller, sim, key, idempotencyKey, timeoutMs);
    const told: SimulatedCall = {
      caller,
      node: sim?.node ? `${sim.node.region}/${sim.node.node}` : "",
      type,
      id,
      method,
      args,
      idempotencyKey,
      invokedAt: record.invokedAt,
      returnedAt: Infinity,
      outcome: "info",
      result: undefined,
      error: null,
      rrp: null,
      epoch: 0,
    };
    this.history.push(told);
    const returned = (what: Partial<SimulatedCall>): void => {
      Object.assign(told, what, { returnedAt: this.#world.scheduler.now });
      const { outcome, rrp, epoch } = told;
      this.#returned(record, { outcome, rrp, epoch, code: told.error?.code ?? null });
    };
    try {
      const request = { sim, timeoutMs, what: `${method} of ${key}` };
      const answer = await this.#send(
        request,
        (node) => node.call(type, id, method, args, options),
      );
      returned({ outcome: "ok", ...answer });
      return answer;
    } catch (thrown) {
      const error = toAtlasError(thrown);
      returned({ outcome: failed(error).outcome, error });
      throw error;
    }
  }

  #ask<T>(ask: (node: AtlasNode) => Promise<T>, what: string): Promise<T> {
    return this.#send({ sim: this.#pick(), timeoutMs: DEFAULT_TIMEOUT_MS, what }, ask);
  }

  /** Any process that is ready, including replaced and paused ones. */
  #pick(): SimNode | undefined {
    const ready = [...this.#world.nodes()].filter(({ node }) => node !== null);
    return ready.length > 0 ? this.#random.pick(ready) : undefined;
  }

  #send<T>(request: ClientRequest, ask: (node: AtlasNode) => Promise<T>): Promise<T> {
    const { scheduler } = this.#world;
    const { sim, timeoutMs, what } = request;
    const sentAt = scheduler.now;
    const networkMs = (): number => this.#random.between(...NETWORK_MS);
    return new Promise((resolve, reject) => {
      const node = sim?.node;
      if (!sim || !node) {
        const error = new AtlasError("unavailable", "no node is ready");
        return void scheduler.after(networkMs(), () => reject(error));
      }
      const waitMs = (1 + SLACK_RATIO) * timeoutMs + SLACK_MS;
      const late = scheduler.after(waitMs, () => {
        // Before that time, a process may have been paused.
        if (sentAt >= this.#healAt && sim.process.isAlive) {
          this.#report(`${what} through ${sim.process.id} did not come back by its deadline`);
        }
        const error = `${what}: no answer from ${sim.process.id} within ${timeoutMs} ms`;
        reject(new AtlasError("timeout", error, { maybeExecuted: true }));
      });
      let isBack = false;
      const back = (settle: () => void): void => {
        if (isBack) return;
        isBack = true;
        scheduler.cancel(late);
        scheduler.after(networkMs(), settle);
      };
      sim.process.onEnd(() =>
        back(() => {
          const error = `${what}: the connection to ${sim.process.id} was lost`;
          reject(new AtlasError("unavailable", error, { maybeExecuted: true }));
        })
      );
      scheduler.after(networkMs(), () =>
        sim.process.enter(() => {
          ask(node).then(
            (answer) => back(() => resolve(answer)),
            (error) => back(() => reject(error)),
          );
        }));
    });
  }

  #record(
    what: CallRecord["what"],
    caller: string,
    sim: SimNode | undefined,
    key: string,
    idempotencyKey: string | null,
    timeoutMs: number,
  ): CallRecord {
    const { scheduler, observer, trace } = this.#world;
    const record = openRecord({
      id: this.calls.length,
      what,
      key,
      process: sim?.process.id ?? "none",
      caller,
      idempotencyKey,
      value: "",
      timeoutMs,
      invokedAt: scheduler.now,
    });
    this.calls.push(record);
    trace.note("call", record.id, record.process, what, key, caller);
    observer.called(record);
    return record;
  }

  #returned(record: CallRecord, what: Partial<CallRecord>): void {
    const { scheduler, observer, trace } = this.#world;
    Object.assign(record, what, { returnedAt: scheduler.now });
    trace.note("return", record.id, record.outcome, record.code, record.epoch);
    observer.returned(record);
  }
}

function failed(error: AtlasError): Pick<CallRecord, "outcome" | "code"> {
  return { outcome: error.maybeExecuted ? "info" : "fail", code: error.code };
}

/** The path to one node: delivers a call, and returns the answer. */
export type SendRequest = <T>(
  what: string,
  timeoutMs: number,
  ask: (node: AtlasNode) => Promise<T>,
) => Promise<T>;

/** The modules API of clients; `way` gives the path to another node each time. */
export function simulatedModules(way: () => SendRequest): ModuleAtlas {
  const ask: SendRequest = (what, timeoutMs, asked) => way()(what, timeoutMs, asked);
  return {
    request: (module, name, args, options = {}) =>
      ask(
        `${module}.${name}`,
        options.timeoutMs ?? DEFAULT_TIMEOUT_MS,
        (node) => node.request(module, name, args, options),
      ),
    async discover(name, options = {}) {
      const there = way();
      const { timeoutMs = DEFAULT_DISCOVER_MS, callTimeoutMs = DEFAULT_TIMEOUT_MS } = options;
      const proxy = await there(
        `discover(${name})`,
        timeoutMs,
        (node) => node.discover(name, options),
      );
      const { $plb } = proxy;
      const plb: Balancer = {
        ...$plb,
        call: (fn, args, given = {}) =>
          there(
            `${name}.${fn}`,
            given.timeoutMs ?? callTimeoutMs,
            () => $plb.call(fn, args, given),
          ),
        close: () => there(`the end of ${name}`, DEFAULT_TIMEOUT_MS, () => $plb.close()),
      };
      return makeProxy(plb, () => Object.keys(proxy)) as typeof proxy;
    },
    modules: () => ask("modules()", DEFAULT_TIMEOUT_MS, (node) => node.modules()),
    exchange: (name) => ask(`exchange(${name})`, DEFAULT_TIMEOUT_MS, (node) => node.exchange(name)),
    authorities: () => ask("authorities()", DEFAULT_TIMEOUT_MS, (node) => node.authorities()),
  };
}
