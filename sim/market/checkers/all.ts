/** All checkers of the market world. */
import { calls, hotCode } from "./calls.ts";
import type { MarketChecker } from "./checker.ts";
import { capacity, credit, grants } from "./credit.ts";
import { books, calm, mesh, messages, processes, rest } from "./mesh.ts";

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
