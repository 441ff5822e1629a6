/**
 * Rules on capacity and credit in a market:
 *
 * - `credit`: no buyer sends more than its seller issued.
 * - `capacity`: no more functions run than a publication's capacity.
 * - `grants`: grants are within capacity, and no credit is created or lost.
 * - `books`: no exchange holds more of an order than its quantity.
 * - `calm`: without faults, no call fails and no buyer loses capacity.
 */
import type {
  ListenerChannelStats,
  ListenerStats,
  MarketStats,
  PlbChannelStats,
} from "../../../src/api/modules.ts";
import type { SimBuyer } from "../buyers.ts";
import type { MarketChecker } from "../history.ts";

/** The latest statistics of each end of a channel. */
interface Ends {
  seller: ListenerChannelStats | null;
  buyer: PlbChannelStats | null;
}

/**
 * Rule: a buyer never believes that it may send more than its seller issued, never sends more than
 * that, and the seller never accepted more than was sent.
 */
export const credit: MarketChecker = {
  name: "credit",
  watch({ world }, report) {
    /** By process and name of the channel. */
    const channels = new Map<string, Ends>();
    /** The channels of which each process is the buyer. */
    const held = new Map<string, Ends[]>();
    const endsOf = (process: string, channel: string): Ends => {
      const key = `${process}/${channel}`;
      let ends = channels.get(key);
      if (!ends) channels.set(key, ends = { seller: null, buyer: null });
      return ends;
    };
    const compare = (name: string, { seller, buyer }: Ends): void => {
      if (buyer && buyer.used > buyer.allowed) {
        report(`${name}: ${buyer.used} sent, of ${buyer.allowed} allowed`);
      }
      if (!seller || !buyer) return;
      if (buyer.allowed > seller.issued) {
        report(`${name}: ${buyer.allowed} allowed, of ${seller.issued} issued`);
      }
      if (seller.used > buyer.used) {
        report(`${name}: ${seller.used} taken, of ${buyer.used} sent`);
      }
    };
    return {
      sampled({ sim, listeners, buyers }) {
        const { id } = sim.process;
        const changed = new Map<Ends, string>();
        // A buyer no longer lists channels that it has closed.
        for (const ends of held.get(id) ?? []) ends.buyer = null;
        held.set(id, []);
        for (const seller of listeners.flatMap(({ stats }) => stats.channels)) {
          const ends = endsOf(id, seller.channel);
          ends.seller = seller;
          changed.set(ends, `${seller.channel} of ${id}`);
        }
        for (const buyer of buyers.flatMap((plb) => plb.channels)) {
          const process = world().network.lives.get(buyer.incarnation);
          if (process === undefined) continue;
          const ends = endsOf(process, buyer.channel);
          ends.buyer = buyer;
          held.get(id)?.push(ends);
          changed.set(ends, `${buyer.channel} of ${process}`);
        }
        for (const [ends, name] of changed) compare(name, ends);
      },
    };
  },
};

/** Rule: no more functions of a publication run at once than its capacity. */
export const capacity: MarketChecker = {
  name: "capacity",
  watch(_context, report) {
    return {
      began({ call, publication }) {
        const { process, module, capacity, running } = publication;
        if (running <= capacity) return;
        report(
          `call ${call} is number ${running} to run at ${process}, which sells ${capacity} of ${module}`,
        );
      },
    };
  },
};

/** Samples between two checks of a node's statistics. */
const EVERY = 8;

/**
 * Rule: a listener's grants are within its capacity, credit is within grants, and no credit is
 * created or lost: issued = used + outstanding + revoked. A node's statistics are the sum of its
 * listeners'.
 */
export const grants: MarketChecker = {
  name: "grants",
  watch(_context, report) {
    const former = new Map<string, MarketStats>();
    let samples = 0;
    return {
      sampled({ sim, listeners, marketStats }) {
        const { id } = sim.process;
        for (const { stats: own } of listeners) {
          const wrong = troubleOf(own);
          if (wrong) report(`${own.module} at ${id}: ${wrong}`);
        }
        if (++samples % EVERY !== 0) return;
        const stats = marketStats();
        const wrong = nodeTrouble(stats, former.get(id), listeners.map(({ stats }) => stats));
        if (wrong) report(`${id}: ${wrong}`);
        former.set(id, stats);
      },
    };
  },
};

function troubleOf({ capacity, granted, free, channels }: ListenerStats): string | null {
  if (granted > capacity) return `${granted} of ${capacity} are granted`;
  if (granted + free !== capacity) return `${granted} granted and ${free} free are not ${capacity}`;
  let grants = 0;
  for (const { channel, grant, issued, used, outstanding, revoked, running } of channels) {
    grants += grant;
    if (Math.min(grant, issued, used, outstanding, revoked, running) < 0) {
      return `a figure of ${channel} is below 0`;
    }
    if (issued !== used + outstanding + revoked) {
      return `${channel} issued ${issued}, which is not ${used} used + ${outstanding} outstanding + ${revoked} revoked`;
    }
    if (outstanding + running > grant) {
      return `${channel} has ${outstanding} credits out and ${running} running, with a grant of ${grant}`;
    }
  }
  return grants > granted ? `channels hold ${grants}, of ${granted} granted` : null;
}

function nodeTrouble(
  stats: MarketStats,
  former: MarketStats | undefined,
  listeners: readonly ListenerStats[],
): string | null {
  const { creditsIssued, creditsUsed, creditsRevoked, creditsOutstanding } = stats;
  if (creditsIssued !== creditsUsed + creditsRevoked + creditsOutstanding) {
    return `${creditsIssued} credits are not ${creditsUsed} + ${creditsRevoked} + ${creditsOutstanding}`;
  }
  const { creditsIssued: issued = 0, creditsUsed: used = 0, creditsRevoked: revoked = 0 } =
    former ??
      {};
  if (creditsIssued < issued || creditsUsed < used || creditsRevoked < revoked) {
    return "fewer credits were issued, used or revoked than before";
  }
  const sum = (field: "granted" | "running"): number =>
    listeners.reduce((all, listener) => all + listener[field], 0);
  const outstanding = listeners.flatMap(({ channels }) => channels)
    .reduce((all, channel) => all + channel.outstanding, 0);
  if (outstanding !== creditsOutstanding) {
    return `${creditsOutstanding} credits are said to be out, and ${outstanding} are`;
  }
  if (sum("granted") !== stats.creditsGranted) {
    return `${stats.creditsGranted} are said to be granted, and ${sum("granted")} are`;
  }
  return sum("running") === stats.moduleRunning
    ? null
    : `${stats.moduleRunning} requests are said to run, and ${sum("running")} do`;
}

/** Rule: no exchange holds more of an order than its quantity. */
export const books: MarketChecker = {
  name: "books",
  watch(_context, report) {
    return {
      orderBooksRead(sim, books) {
        for (const { node, orders } of books) {
          for (const { side, id, quantity, held, incarnation } of orders) {
            if (held <= quantity) continue;
            report(
              `${sim.process.id} saw ${held} held of ${side} order ${id} of ${incarnation}, ` +
                `which is about ${quantity}, at an exchange on ${node}`,
            );
          }
        }
      },
    };
  },
};

/**
 * Rule: if no fault happens and nothing is closed, no call fails, and no buyer loses capacity once
 * it has what it wants, whatever code is loaded.
 */
export const calm: MarketChecker = {
  name: "calm",
  watch({ plan }, report) {
    if (!plan.market.isCalm) return {};
    const served = new Set<SimBuyer>();
    return {
      moduleReturned({ id, outcome, code, message }) {
        if (outcome !== "ok") report(`call ${id} failed with ${code}: ${message}`);
      },
      sampled({ sim, buyers }) {
        for (const { buyer, module, granted, wanted } of buyers) {
          if (granted >= wanted) served.add(buyer);
          if (granted >= wanted || !served.has(buyer)) continue;
          report(`a buyer of ${module} at ${sim.process.id} had ${wanted}, and has ${granted}`);
        }
      },
    };
  },
};
