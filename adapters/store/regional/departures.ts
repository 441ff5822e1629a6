/**
 * Departures of keys that leave a region, and how they are taken back.
 *
 * A departure is *open* at first. The claimer at the new home signs it in the former home's store,
 * by compare-and-set, before it copies anything; from then on the key belongs to the new home for
 * good. While a departure is open nobody has arrived, so it can be taken back, by compare-and-set
 * too: one of both wins. A key that was taken back is unowned where it was, with its state, and
 * its next epoch is higher.
 *
 * Source: Lampson and Sturgis, "Crash Recovery in a Distributed Data Storage System"
 * (1979): one write decides.
 */
import type { Store } from "../../../src/ports/store.ts";
import { DEPARTED, entryOf, type Pointer, shortcut } from "./entries.ts";
import type { RegionalStores } from "./region_stores.ts";

/** Signs a key's departure in the store of the region it left. False: it was taken back, or moved on. */
export async function sign(from: Store, key: string, pointer: Pointer): Promise<boolean> {
  const open = { incarnation: DEPARTED, epoch: pointer.at };
  const { won, owner } = await from.claim(shortcut(key, open, pointer));
  if (won) return true;
  const entry = entryOf(owner);
  return entry.kind === "departed" && entry.isSigned && entry.pointer.at === pointer.at;
}

/**
 * Takes an open departure back, in whichever region's store it stands; one to `but` is left. Gives
 * the key's home and the epoch to claim above; null where there was nothing to take back.
 *
 * @param start a region in which the key has been: it is followed from there.
 * @throws AtlasError that names an unreachable region
 */
export async function takeBack(
  stores: RegionalStores,
  key: string,
  start: string,
  but: string | null,
): Promise<Pointer | null> {
  const regions = new Set([start]);
  // Follows further departures, and ends where one leads back to an earlier stay.
  for (const region of regions) {
    const entry = entryOf(await stores.at(region, (store) => store.lookup(key)));
    if (entry.kind !== "departed") return null;
    const { stored: { incarnation, epoch }, pointer } = entry;
    if (entry.isSigned) {
      regions.add(pointer.to);
      continue;
    }
    if (pointer.to === but) return null;
    const isDone = await stores.at(region, (store) => store.release(key, incarnation, epoch));
    return isDone ? { to: region, from: pointer.to, at: epoch } : null;
  }
  return null;
}
