/**
 * How much of the machine other processes use while a bench runs, from Linux's own counts. A ratio
 * that was measured on a busy machine says little: one side may need both cores, the other one.
 */
import { readFileSync } from "node:fs";

/** CPU time in ticks: of all processes, of all of them and idle, and of this one and its children. */
interface Ticks {
  readonly busy: number;
  readonly all: number;
  readonly own: number;
}

/** null where the system doesn't count. */
function ticks(): Ticks | null {
  try {
    // https://man7.org/linux/man-pages/man5/proc_stat.5.html: user nice system idle iowait …
    const [, ...counts] = (readFileSync("/proc/stat", "utf8").split("\n")[0] as string).split(/ +/);
    const all = counts.slice(0, 8).reduce((sum, count) => sum + Number(count), 0);
    const idle = Number(counts[3]) + Number(counts[4]);
    return { busy: all - idle, all, own: ownTicks(readFileSync("/proc/self/stat", "utf8")) };
  } catch {
    return null;
  }
}

/** utime, stime, and those of children that have ended; fields 14 to 17, after the command's name. */
function ownTicks(stat: string): number {
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return fields.slice(11, 15).reduce((sum, count) => sum + Number(count), 0);
}

/**
 * Starts to count; the result gives the share of all CPUs' time that other processes used since, and
 * null where that is unknown. Children MUST have ended by then.
 */
export function countOthers(): () => number | null {
  const before = ticks();
  return () => {
    const after = ticks();
    if (!before || !after || after.all === before.all) return null;
    const others = after.busy - before.busy - (after.own - before.own);
    return Math.max(0, others / (after.all - before.all));
  };
}
