/**
 * Answers lookups: the directory's answer, and what this node alone knows of resources that went
 * on without the store.
 *
 * Source: `docs/design.md`, Lookups and verdicts; Going on without the store.
 */
import type { Lookup } from "../model/ownership.ts";
import { type Directory, suspected } from "../registry/directory.ts";
import type { Host } from "../resource/host.ts";

/**
 * The directory's answer; `suspect` while the resource operates here without the store, and
 * `contested` for a while after it was lost to another owner.
 *
 * @throws AtlasError `unavailable` or `contested` only where `confirmed` is required.
 */
export async function lookupFrom(
  host: Host,
  registry: Directory,
  key: string,
  confirmed: boolean,
): Promise<Lookup> {
  const here = host.find(key);
  if (here?.offline) {
    if (confirmed) throw suspected(key);
    const ageMs = Math.max(0, host.clock.now() - here.openedAt);
    return { key, rrp: here.rrp, epoch: here.epoch, verdict: here.offline.verdict, ageMs };
  }
  const mine = here && here.life.lease.holds() ? { owner: here.owner, at: here.openedAt } : null;
  const found = await registry.lookup(key, mine, confirmed);
  const isSure = found.verdict === "confirmed" || found.verdict === "cached";
  if (confirmed || !isSure || !host.reconciliation.isContested(key)) return found;
  return { ...found, verdict: "contested" };
}
