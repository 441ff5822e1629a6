/**
 * After every event, collects the statistics of each process that ran and passes them to the
 * checkers.
 */
import type { Observer } from "../engine/observer.ts";
import type { SimNode, World } from "../engine/world.ts";
import type { MarketHistory, ProcessSample } from "./history.ts";
import type { Traders } from "./traders.ts";

export function checkAfterEvent(
  world: () => World,
  traders: () => Traders,
  history: MarketHistory,
): Observer {
  /** How often something had run in each process at the last look. */
  const seen = new Map<SimNode, number>();
  const look = (sim: SimNode): void => {
    const { node, process } = sim;
    if (!node || !process.isAlive || seen.get(sim) === process.runs) return;
    seen.set(sim, process.runs);
    const buyers: ProcessSample["buyers"][number][] = [];
    for (const buyer of traders().buyers) {
      const proxy = buyer.proxyOf(sim);
      if (proxy) buyers.push({ buyer, ...proxy.$plb.stats() });
    }
    const listeners = node.listeners().map((listener) => ({
      publication: history.publicationOf(listener),
      stats: listener.stats(),
    }));
    history.sampled({ sim, listeners, buyers, marketStats: () => node.stats() });
  };
  return {
    stepped() {
      for (const { current, former } of world().slots) {
        if (current) look(current);
        for (const sim of former) look(sim);
      }
    },
  };
}
