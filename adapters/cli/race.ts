/**
 * `atlas race`: races contenders for names at a registry, with no node in between. Takes a checked
 * command line; gives the counts as JSON, and tables for people.
 */
import { isAtlasError, messageOf } from "../../src/errors.ts";
import { race, type RaceReport, type RuleReport } from "../../src/race/race.ts";
import { openRaceStores, type RaceStores } from "../store/open/race.ts";
import { systemClock, systemRandom } from "../system/clock.ts";
import { table } from "./output.ts";
import { type CommandLine, type RaceLine, UsageError } from "./usage.ts";

/** The JSON document: the report, and the masters that no contender used. */
export interface RaceDocument extends RaceReport {
  readonly unraced: readonly string[];
}

/** The report of a race, as a document and as text. */
export interface RaceOutput {
  readonly document: RaceDocument;
  readonly text: string;
}

/**
 * Races at the registry that the command line names, or at all of its masters.
 *
 * @throws UsageError if the registry isn't one that can be raced; AtlasError if it can't be
 * reached.
 */
export async function raceCommand({ race: asked, timeoutMs }: CommandLine): Promise<RaceOutput> {
  const { stores, unraced, close } = await openAll(asked, timeoutMs);
  try {
    const { trials, stallMs, seconds } = asked;
    const report = await race({
      stores,
      clock: systemClock,
      random: systemRandom,
      trials,
      stallMs,
      limitMs: seconds * 1_000,
    });
    const document = { ...report, unraced };
    return { document, text: textOf(document, asked) };
  } finally {
    close();
  }
}

async function openAll(asked: RaceLine, timeoutMs: number | undefined): Promise<RaceStores> {
  const { registries, token, contenders } = asked;
  if (registries.length === 0) {
    throw new UsageError("race needs --registry or ATLAS_REGISTRY_URL");
  }
  if (registries.some((url) => /^[^:/?#]+=/.test(url))) {
    throw new UsageError(
      "--registry (or ATLAS_REGISTRY_URL) names a registry for each region: race at one of them",
    );
  }
  try {
    return await openRaceStores(registries, {
      count: contenders,
      token,
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
    });
  } catch (error) {
    const isBad = isAtlasError(error) && error.code === "bad_request";
    throw isBad ? new UsageError(`--registry: ${messageOf(error)}`) : error;
  }
}

function textOf(report: RaceDocument, asked: RaceLine): string {
  const { rtt, published, compareAndSet } = report;
  const row = (name: string, rule: RuleReport) => [name, rule.trials, rule.doubles, percent(rule)];
  return table(["STEPS", "P50 MS", "P99 MS", "MAX MS"], [
    ["round trip", fixed(rtt.p50), fixed(rtt.p99), fixed(rtt.max)],
  ]) + "\n" + table(["RULE", "TRIALS", "TWO OWNERS", "RATE"], [
    row("SET, wait one round trip, GET", published),
    row("compare-and-set", compareAndSet),
  ]) + `\n${verdictOf(report, asked)}\n${mastersOf(report)}` +
    (report.complete ? "" : cutShort(report, asked));
}

function verdictOf(report: RaceDocument, { stallMs }: RaceLine): string {
  const { published, compareAndSet, rtt, masters, unraced } = report;
  const single = unraced.length > 0 ? "this one master" : "this store";
  const place = masters > 1 ? `these ${masters} masters` : single;
  const where = `on ${place}${stallMs > 0 ? `, with nodes held up for up to ${stallMs} ms` : ""}`;
  if (compareAndSet.doubles > 0) {
    const they = masters > 1
      ? "they have no single order of writes, and can't be a registry without the strategy " +
        "optimistic, with a bound that copying between them keeps."
      : "it has no single order of writes, and can't be a registry by itself.";
    return `Even compare-and-set let two nodes own one name in ${percent(compareAndSet)} of the ` +
      `races ${where}: ${they}`;
  }
  if (published.doubles > 0) {
    return `The published rule let two nodes own one name in ${percent(published)} of the races ` +
      `${where}, compare-and-set in none: that is why compare-and-set is the default.`;
  }
  return `No name had two owners ${where}. The published rule holds only while no rival takes ` +
    `longer than the wait (${fixed(rtt.p50)} ms here, but one step took ${fixed(rtt.max)}); ` +
    `compare-and-set, the default, needs no such luck${stallMs > 0 ? "" : ": try --stall 50"}.`;
}

/** A note about several masters, which the counts don't show. */
function mastersOf({ masters, unraced, compareAndSet }: RaceDocument): string {
  if (unraced.length > 0) {
    const used = masters > 1 ? `${masters} masters` : "one master";
    return `But all contenders used ${used}, and none used ${unraced.join(", ")}: across several ` +
      "masters compare-and-set does not hold. Give --registry once for each.\n";
  }
  if (masters === 1 || compareAndSet.doubles > 0) return "";
  return "But across several masters compare-and-set does not hold, unless these addresses lead " +
    "to one and the same.\n";
}

function cutShort({ published, compareAndSet }: RaceReport, { trials, seconds }: RaceLine): string {
  const done = Math.min(published.trials, compareAndSet.trials);
  return `It ended early, after ${done} of ${trials} trials: ${seconds} s were over, or the ` +
    "contenders did not meet.\n";
}

function percent({ rate }: RuleReport): string {
  return `${(rate * 100).toFixed(1)} %`;
}

function fixed(ms: number): string {
  return ms.toFixed(ms < 10 ? 2 : 1);
}
