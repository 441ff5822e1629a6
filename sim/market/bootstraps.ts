/**
 * The bootstrap options of a simulated market: how each node finds its first authority. Bootstraps
 * name nodes of lower number only, down to the first, so that all nodes reach one mesh.
 */
import type { Bootstrap, Role } from "../../src/api/options.ts";
import type { Peer } from "../../src/ports/transport.ts";
import { addressOf } from "../engine/network.ts";
import type { SimProcess } from "../engine/process.ts";
import { SeededRandom } from "../engine/random.ts";
import type { NodeSettings, World } from "../engine/world.ts";
import type { MarketPlan } from "../plan/market_plan.ts";

const DNS_NAME = "atlas.internal";
const PORT = 4_000;
/** How long a DNS name or a function takes to answer, ms; and how often it fails. */
const ANSWER_MS = [1, 60] as const;
const FAILS = 0.1;
/** The share of the failures that never answer. */
const HANGS = 0.3;

export function settingsOf({ market, seed }: MarketPlan): NodeSettings {
  const random = new SeededRandom(seed, "signposts");
  const { roles, bootstraps } = market;
  const isSeedOnly = market.seedLostAt > 0;
  return ({ index }, process, world) => ({
    role: roles[index] ?? "worker",
    bootstrap: bootstrapOf(bootstraps[index] ?? "registry", {
      index,
      roles,
      process,
      world,
      random,
      isSeedOnly,
    }),
  });
}

interface Reader {
  readonly index: number;
  readonly roles: readonly Role[];
  readonly process: SimProcess;
  readonly world: World;
  readonly random: SeededRandom;
  readonly isSeedOnly: boolean;
}

function bootstrapOf(kind: string, reader: Reader): Bootstrap {
  const { index, world, random } = reader;
  switch (kind) {
    case "static": {
      // If the seed node will be lost, bootstraps name only that node.
      const other = world.slot(index === 0 || reader.isSeedOnly ? 0 : random.below(index));
      return { static: [addressOf(other.host)] };
    }
    case "dns":
      return {
        dns: DNS_NAME,
        port: PORT,
        resolve: () => answered(reader, () => world.hosts),
        address: addressOf,
      };
    case "function":
      return () => answered(reader, () => authorities(world, reader.roles));
    default:
      return "registry";
  }
}

/** The authorities that run now, as an external directory would list them. */
function authorities({ slots }: World, roles: readonly Role[]): Peer[] {
  return slots.flatMap(({ index, current, host, region, name }) => {
    if (!current?.node || roles[index] !== "authority") return [];
    const { incarnation } = current.node;
    const address = `${addressOf(host)}/${current.process.id}`;
    return [{ address, region, node: name, incarnation }];
  });
}

/** An answer from outside: it arrives late, is sometimes a failure, and sometimes never arrives. */
function answered<T>({ world, process, random }: Reader, answer: () => T): Promise<T> {
  return new Promise((resolve, reject) => {
    const isLost = !world.isHealed && random.chance(FAILS);
    if (isLost && random.chance(HANGS)) return;
    world.scheduler.after(random.between(...ANSWER_MS), () =>
      process.enter(() => {
        if (isLost) reject(new Error("nobody answered"));
        else resolve(answer());
      }));
  });
}
