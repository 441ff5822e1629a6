/**
 * Decides which of two processes keeps a node name: the one that has it, while it renews its
 * lease. The newcomer waits for some heartbeats and is refused as soon as it sees a renewal;
 * otherwise the former process has ended, or is stalled, and loses the name.
 *
 * So neither two machines with one name nor a store that went back to an older state make two
 * processes end each other again and again.
 */
import { AtlasError } from "../errors.ts";
import type { Clock } from "../ports/clock.ts";
import type { Observation } from "../ports/store.ts";
import { pause } from "../time/wait.ts";

/** The number of heartbeats without a renewal after which none is expected any more. */
const SILENT_BEATS = 2.5;
/** Reads per heartbeat. */
const LOOKS_PER_BEAT = 4;

/**
 * Waits until a member has not renewed for {@link SILENT_BEATS} heartbeats, or isn't live any more.
 *
 * @param observe reads its heartbeat; null where it is unknown.
 * @param isDue whether the wait still matters.
 * @throws AtlasError `node_name_taken` where it renews; whatever `observe` throws.
 */
export async function outwait(
  clock: Clock,
  heartbeatMs: number,
  observe: () => Promise<Observation | null>,
  isDue: () => boolean,
): Promise<void> {
  const first = await observe();
  const giveUp = clock.now() + SILENT_BEATS * heartbeatMs;
  for (let seen = first; seen?.state === "live" && isDue(); seen = await observe()) {
    if (first !== null && seen.seq > first.seq) {
      throw new AtlasError(
        "node_name_taken",
        "another live process has this node's name; give each process its own name",
      );
    }
    if (clock.now() >= giveUp) return;
    await pause(clock, heartbeatMs / LOOKS_PER_BEAT);
  }
}
