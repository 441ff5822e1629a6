/** All checkers of the resource worlds, one rule each. */
import { addressee, answers, chains, fifo, once, returns } from "./calls.ts";
import type { HistoryChecker, LiveChecker } from "./checker.ts";
import { claims, singleClaim } from "./claims.ts";
import { bounded, healing } from "./healing.ts";
import { linearizable } from "./linearizable.ts";
import { losses, parts } from "./losses.ts";
import { death, epochs, nameKept, needlessLapse, oneLife, singleOwner } from "./ownership.ts";

/** Rules that are checked while a simulation runs, and hold for any app and its clients. */
export const APP_CHECKERS: readonly LiveChecker[] = [
  singleOwner,
  oneLife,
  epochs,
  answers,
  addressee,
  claims,
  singleClaim,
  death,
  healing,
];

/** All rules that are checked while clients of journals run. */
export const LIVE_CHECKERS: readonly LiveChecker[] = [
  ...APP_CHECKERS,
  returns,
  bounded,
  losses,
  parts,
  needlessLapse,
  nameKept,
];

/** Rules that are checked on what clients saw and on the final state. */
export const HISTORY_CHECKERS: readonly HistoryChecker[] = [once, linearizable, fifo, chains];
