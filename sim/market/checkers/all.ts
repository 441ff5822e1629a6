/** All checkers of the market world. */
import { calls, hotCode } from "./calls.ts";
import type { MarketChecker } from "../history.ts";
import { books, calm, capacity, credit, grants } from "./capacity.ts";
import { mesh, messages, processes, rest } from "./messages.ts";

export const MARKET_CHECKERS: readonly MarketChecker[] = [
  capacity,
  grants,
  credit,
  calls,
  hotCode,
  books,
  messages,
  mesh,
  processes,
  rest,
  calm,
];
