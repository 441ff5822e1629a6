/**
 * The modules of a simulated market: their functions record when they begin and end, and take
 * virtual time in between.
 */
import { AtlasError } from "../../src/errors.ts";
import { defineModule, type FunctionContext, type Module } from "../../src/api/module.ts";
import type { SimNode, World } from "../engine/world.ts";
import type { MarketHistory, Publication, Run } from "./history.ts";
import type { Behavior } from "../plan/market_plan.ts";

/** What a function answers: the call's number, and the code that ran. */
export type Answer = readonly [call: number, version: string, hash: string];

/** Makes the test modules; after healing, ends functions that never return. */
export class SimModules {
  readonly #world: World;
  readonly #history: MarketHistory;
  readonly #endless = new Set<{ readonly sim: SimNode; readonly end: () => void }>();
  #builds = 0;

  constructor(world: World, history: MarketHistory) {
    this.#world = world;
    this.#history = history;
  }

  /** A number for another version of the code. */
  build(): number {
    return ++this.#builds;
  }

  /** The code of a publication; older ones lack the function `extra`. */
  make(sim: SimNode, publication: Publication, version: string, build: number): Module {
    const serve = (
      context: FunctionContext,
      call: number,
      behavior: Behavior,
      ms: number,
    ): unknown => this.#serve(sim, publication, { context, hash: module.hash }, call, behavior, ms);
    function work(this: FunctionContext, call: number, behavior: Behavior, ms: number): unknown {
      return serve(this, call, behavior, ms);
    }
    // The hash covers its source, and each runtime strips types in its own way.
    work.toString = () => "work";
    const module: Module = defineModule({
      name: publication.module,
      version,
      attributes: { build },
      functions: version === "1.0.0" ? { work } : { work, extra: work },
    });
    return module;
  }

  /** Ends functions that would never return. */
  release(): void {
    for (const { sim, end } of this.#endless) sim.process.enter(end);
    this.#endless.clear();
  }

  #serve(
    sim: SimNode,
    publication: Publication,
    { context, hash }: { readonly context: FunctionContext; readonly hash: string },
    call: number,
    behavior: Behavior,
    ms: number,
  ): unknown {
    const { scheduler, trace } = this.#world;
    const { version, signal } = context;
    const beganAt = scheduler.now;
    const run: Run = { call, publication, version, hash, beganAt, endedAt: Infinity };
    trace.note("run", call, sim.process.id, version, hash);
    this.#history.began(run);
    const end = (): void => {
      trace.note("ran", call);
      this.#history.ended(run, scheduler.now);
    };
    const answer: Answer = [call, version, hash];
    if (behavior === "throw") {
      end();
      throw new Error("thrown on purpose");
    }
    if (behavior === "at_once") {
      end();
      return answer;
    }
    return new Promise((resolve, reject) => {
      const finish = (): void => {
        end();
        if (behavior !== "deny") resolve(answer);
        else reject(new AtlasError("unavailable", "denied on purpose"));
      };
      if (behavior === "never" && !this.#world.isHealed) {
        return void this.#endless.add({ sim, end: finish });
      }
      const timer = sim.clock.after(ms, finish);
      if (behavior !== "heed") return;
      signal.addEventListener("abort", () => {
        timer.cancel();
        end();
        reject(signal.reason);
      });
    });
  }
}
