/**
 * Records lookups and claims of unowned keys while the store fails over to a copy.
 *
 * Takes the nodes; gives each attempt with the times of request and answer, to be compared with
 * the nodes' logs.
 */
import { expect } from "vitest";
import { type Answer, ask } from "./calls.ts";
import { eventsOf, type LogEvent } from "./node_log.ts";
import type { NodeProcess } from "./process.ts";

/** Lookups of one key at one node, a plain one and one that requires a confirmed owner. */
export interface LookupPair {
  readonly place: number;
  /** When it was requested and answered, ms since 1970. */
  readonly from: number;
  readonly to: number;
  readonly plain: Answer;
  readonly confirmed: Answer;
}

export interface FailoverRecord {
  readonly lookups: LookupPair[];
  /** Stops; resolves when no lookup is running. */
  close(): Promise<void>;
}

const PAUSE_MS = 50;
const UNOWNED = "/v1/resources/channels/nobody";

/** Starts the lookups at all nodes. */
export function recordFailover(nodes: readonly NodeProcess[]): FailoverRecord {
  const lookups: LookupPair[] = [];
  let over = false;
  const asking = nodes.map(async ({ url }, place) => {
    while (!over) {
      const from = Date.now();
      const asked = [UNOWNED, `${UNOWNED}?require=confirmed`].map((path) => ask(url, path));
      // A node that closes the connection has ended, and the test with it.
      const [plain, confirmed] = await Promise.all(asked).catch(() => []);
      if (!plain || !confirmed) return;
      lookups.push({ place, from, to: Date.now(), plain, confirmed });
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  });
  return {
    lookups,
    async close() {
      over = true;
      await Promise.all(asking);
    },
  };
}

/** The first event of this name since `at`; the test has waited for it. */
export function firstSince(node: NodeProcess, event: string, at: number): LogEvent {
  const found = eventsOf(node, event).find((it) => it.at >= at);
  expect(found, `${node.line.node} logged "${event}"`).toBeDefined();
  return found as LogEvent;
}

/**
 * Checks the lookups of one failover: only `quarantine` (or `suspect`, if the store did not answer)
 * from the time at which a node saw the copy until claims could be open again, and `unowned` at the
 * end. Lookups that require a confirmed owner get an error in this time.
 *
 * @param sawCopy when each node saw the copy; @param untilMs when the first claim could be made.
 */
export function checkRecord(
  lookups: readonly LookupPair[],
  sawCopy: readonly number[],
  untilMs: number,
): void {
  let quarantined = 0;
  const reasons = new Set<string>();
  for (const [place, since] of sawCopy.entries()) {
    const mine = lookups.filter((lookup) => lookup.place === place);
    const during = mine.filter(({ from, to }) => from >= since && to <= untilMs);
    for (const { plain, confirmed } of during) {
      expect(plain.body.verdict).toMatch(/^(?:quarantine|suspect)$/);
      expect(confirmed).toMatchObject({ status: 503, body: { error: { code: "unavailable" } } });
      if (plain.body.verdict !== "quarantine") continue;
      quarantined++;
      reasons.add(confirmed.body.error.message);
    }
    expect(mine.at(-1)?.plain.body).toMatchObject({ verdict: "unowned", rrp: null });
    expect(mine.at(-1)?.confirmed.body).toMatchObject({ verdict: "unowned" });
  }
  expect(quarantined).toBeGreaterThan(10);
  expect([...reasons].join()).toContain("is in quarantine");
}
