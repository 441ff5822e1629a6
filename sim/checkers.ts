/** All rules that a simulation is held to, one referee each. A further one is a further line. */
import { addressee } from "./checkers/addressee.ts";
import { answers } from "./checkers/answers.ts";
import { bounded } from "./checkers/bounded.ts";
import { chains } from "./checkers/chains.ts";
import type { HistoryChecker, LiveChecker } from "./checkers/checker.ts";
import { claims } from "./checkers/claims.ts";
import { death } from "./checkers/death.ts";
import { epochs } from "./checkers/epochs.ts";
import { fifo } from "./checkers/fifo.ts";
import { gate } from "./checkers/gate.ts";
import { healing } from "./checkers/healing.ts";
import { linearizable } from "./checkers/linearizable.ts";
import { losses } from "./checkers/losses.ts";
import { nameKept } from "./checkers/name_kept.ts";
import { needlessLapse } from "./checkers/needless_lapse.ts";
import { once } from "./checkers/once.ts";
import { oneLife } from "./checkers/one_life.ts";
import { parts } from "./checkers/parts.ts";
import { returns } from "./checkers/returns.ts";
import { singleOwner } from "./checkers/single_owner.ts";

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
