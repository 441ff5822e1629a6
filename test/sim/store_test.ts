/** The store suite on the simulated store, without faults. */
import { afterAll } from "vitest";
import { fanOut } from "../../sim/engine/observer.ts";
import { Paths } from "../../sim/engine/paths.ts";
import { SimClock } from "../../sim/engine/clock.ts";
import { SimProcess } from "../../sim/engine/process.ts";
import { SeededRandom } from "../../sim/engine/random.ts";
import { Scheduler } from "../../sim/engine/scheduler.ts";
import { SimStore } from "../../sim/engine/store.ts";
import { Trace } from "../../sim/engine/trace.ts";
import { storeConformance } from "../conformance/store.ts";

const linkConditions = { baseMs: 1, jitterMs: 1, tail: 0, tailMs: 0, loss: 0, duplicates: 0 };

for (const isStream of [true, false]) {
  const trace = new Trace(false);
  const scheduler = new Scheduler(trace);
  const random = new SeededRandom(1, "store suite");
  const paths = new Paths(scheduler, random, linkConditions, 0);
  const shape = { isStream, timeoutMs: 1_000 };
  const store = new SimStore({ scheduler, trace, paths, random, shape, observer: fanOut([]) });
  let processes = 0;
  // The suite runs in real time: simulated time advances as fast as possible beside it.
  const pump = setInterval(() => scheduler.run(Infinity, () => {}, () => false), 0);
  afterAll(() => clearInterval(pump));
  storeConformance(`simulated, ${isStream ? "as a stream" : "by requests"}`, async () => ({
    open: async () => {
      const process = new SimProcess(`p${++processes}`, `host-${processes}`, scheduler, random);
      return store.open(process, new SimClock(scheduler, process, 1, 0));
    },
    dispose: async () => {},
  }));
}
