/**
 * Rule: old code stays while anything runs on it and is dropped once after that. A run ends on the
 * code that it began on.
 */
import type { Publication, Run } from "../history.ts";
import type { MarketChecker } from "./checker.ts";

export const hotCode: MarketChecker = {
  name: "hot code",
  watch({ world }, report) {
    const running = new Set<Run>();
    /** Code that ever ran. */
    const used = new Map<Publication, Set<string>>();
    /** Code that was dropped, by process. */
    const dropped = new Set<string>();
    return {
      began(run) {
        running.add(run);
        const hashes = used.get(run.publication) ?? new Set();
        used.set(run.publication, hashes.add(run.hash));
        const { process } = run.publication;
        if (dropped.has(`${process} ${run.hash}`)) {
          report(`call ${run.call} runs at ${process} on ${run.version}, which was dropped`);
        }
      },
      ended: (run) => void running.delete(run),
      eventLogged(process, { event, fields: { version, hash } }) {
        if (event !== "old code dropped") return;
        const code = `${process} ${hash}`;
        if (dropped.has(code)) report(`${process} dropped ${version} (${hash}) twice`);
        dropped.add(code);
        for (const run of running) {
          const { publication } = run;
          // What still ran when its listener had to close was given up.
          if (publication.process !== process || publication.isClosed) continue;
          if (run.hash !== hash) continue;
          report(`${process} dropped ${version} (${hash}), on which call ${run.call} runs`);
        }
      },
      sampled({ sim, listeners: shops }) {
        const codes = new Map(
          shops.map(({ publication, stats: books }) => [publication, books.codes]),
        );
        for (const { publication, hash, version, call } of running) {
          if (publication.isClosed) continue;
          const inUse = codes.get(publication);
          if (!inUse || inUse.some((code) => code.hash === hash)) continue;
          report(`call ${call} runs at ${sim.process.id} on ${version}, which isn't in use there`);
        }
      },
      finished() {
        const alive = new Set([...world().nodes()].map(({ process }) => process.id));
        for (const [{ listener, process, isClosed }, hashes] of used) {
          if (isClosed || !alive.has(process)) continue;
          const codes = new Set(listener().stats().codes.map(({ hash }) => hash));
          for (const hash of hashes) {
            const isDropped = dropped.has(`${process} ${hash}`);
            if (isDropped && codes.has(hash)) report(`${process} dropped ${hash}, and uses it`);
            if (!isDropped && !codes.has(hash)) report(`${process} never dropped ${hash}`);
          }
        }
      },
    };
  },
};
