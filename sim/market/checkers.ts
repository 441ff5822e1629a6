/** All rules that a market is held to, one referee each. A further one is a further line. */
import { books } from "./checkers/books.ts";
import { calls } from "./checkers/calls.ts";
import { calm } from "./checkers/calm.ts";
import { capacity } from "./checkers/capacity.ts";
import type { MarketChecker } from "./checkers/checker.ts";
import { credit } from "./checkers/credit.ts";
import { grants } from "./checkers/grants.ts";
import { hotCode } from "./checkers/hot_code.ts";
import { letters } from "./checkers/letters.ts";
import { mesh } from "./checkers/mesh.ts";
import { parts } from "./checkers/parts.ts";
import { rest } from "./checkers/rest.ts";

export const MARKET_CHECKERS: readonly MarketChecker[] = [
  capacity,
  grants,
  credit,
  calls,
  hotCode,
  books,
  letters,
  mesh,
  parts,
  rest,
  calm,
];
