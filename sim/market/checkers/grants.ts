/**
 * Rule: a listener's grants are within its capacity, credit is within grants, and no credit is
 * created or lost: issued = used + outstanding + revoked. A node's statistics are the sum of its
 * listeners'.
 */
import type { ListenerStats, MarketStats } from "../../../src/api/modules.ts";
import type { MarketChecker } from "./checker.ts";

/** Audits between two looks at a node's figures. */
const EVERY = 8;

export const grants: MarketChecker = {
  name: "grants",
  watch(_scene, report) {
    const former = new Map<string, MarketStats>();
    let audits = 0;
    return {
      sampled({ sim, listeners: shops, marketStats: figures }) {
        const { id } = sim.process;
        for (const { stats: books } of shops) {
          const wrong = troubleOf(books);
          if (wrong) report(`${books.module} at ${id}: ${wrong}`);
        }
        if (++audits % EVERY !== 0) return;
        const stats = figures();
        const wrong = nodeTrouble(stats, former.get(id), shops.map(({ stats: books }) => books));
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
