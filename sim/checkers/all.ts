/** All checkers of the resource worlds, one rule each. */
import { addressee } from "./addressee.ts";
import { answers } from "./answers.ts";
import { bounded } from "./bounded.ts";
import { chains } from "./chains.ts";
import type { HistoryChecker, LiveChecker } from "./checker.ts";
import { claims } from "./claims.ts";
import { death } from "./death.ts";
import { epochs } from "./epochs.ts";
import { fifo } from "./fifo.ts";
import { gate } from "./gate.ts";
import { healing } from "./healing.ts";
import { linearizable } from "./linearizable.ts";
import { losses } from "./losses.ts";
import { nameKept } from "./name_kept.ts";
import { needlessLapse } from "./needless_lapse.ts";
import { once } from "./once.ts";
import { oneLife } from "./one_life.ts";
import { parts } from "./parts.ts";
import { returns } from "./returns.ts";
import { singleOwner } from "./single_owner.ts";

/** Rules that are watched while a simulation runs, and hold for any app and its clients. */
export const APP_CHECKERS: readonly LiveChecker[] = [
  singleOwner,
  oneLife,
  epochs,
  answers,
  addressee,
  claims,
  gate,
  death,
  healing,
];

/** All that are watched while journals are played. */
export const LIVE_CHECKERS: readonly LiveChecker[] = [
  ...APP_CHECKERS,
  returns,
  bounded,
  losses,
  parts,
  needlessLapse,
  nameKept,
];

/** Rules that can be judged from what clients saw and what was left. */
export const HISTORY_CHECKERS: readonly HistoryChecker[] = [once, linearizable, fifo, chains];
