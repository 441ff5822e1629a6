/** All rules that a market is held to, one referee each. A further one is a further line. */
import { books } from "./books.ts";
import { calls } from "./calls.ts";
import { calm } from "./calm.ts";
import { capacity } from "./capacity.ts";
import type { MarketChecker } from "./checker.ts";
import { credit } from "./credit.ts";
import { grants } from "./grants.ts";
import { hotCode } from "./hot_code.ts";
import { messages } from "./letters.ts";
import { mesh } from "./mesh.ts";
import { parts } from "./parts.ts";
import { rest } from "./rest.ts";

export const MARKET_CHECKERS: readonly MarketChecker[] = [
  capacity,
  grants,
  credit,
  calls,
  hotCode,
  books,
  messages,
  mesh,
  parts,
  rest,
  calm,
];
