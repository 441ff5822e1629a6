/**
 * Old code stays as long as anything runs on it, and is dropped once, after that: what
 * runs ends on the code that it began on.
 */
import type { Run } from "../ledger.ts";
import type { MarketChecker } from "./checker.ts";

export const hotCode: MarketChecker = {
  name: "hot code",
  watch({ ledger }, report) {
    const running = new Set<Run>();
    /** Code that was dropped, by process. */
    const dropped = new Set<string>();
    return {
      began(run) {
        running.add(run);
        const { process } = run.publication;
        if (dropped.has(`${process} ${run.hash}`)) {
          report(`call ${run.call} runs at ${process} on ${run.version}, which was dropped`);
        }
      },
      ended: (run) => void running.delete(run),
      told(process, { event, fields: { version, hash } }) {
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
      audited({ sim, shops }) {
        const codes = new Map(shops.map(({ publication, books }) => [publication, books.codes]));
        for (const { publication, hash, version, call } of running) {
          if (publication.isClosed) continue;
          const inUse = codes.get(publication);
          if (!inUse || inUse.some((code) => code.hash === hash)) continue;
          report(`call ${call} runs at ${sim.process.id} on ${version}, which isn't in use there`);
        }
      },
      finished() {
        for (const { listener, process, isClosed } of ledger.publications) {
          if (isClosed) continue;
          const { codes, hash } = listener().stats();
          for (const code of codes) {
            if (code.hash !== hash && dropped.has(`${process} ${code.hash}`)) {
              report(`${process} dropped ${code.version}, and has it in use`);
            }
          }
        }
      },
    };
  },
};
