/** All checkers of the market world. */
import { books } from "./books.ts";
import { calls } from "./calls.ts";
import { calm } from "./calm.ts";
import { capacity } from "./capacity.ts";
import type { MarketChecker } from "./checker.ts";
import { credit } from "./credit.ts";
import { grants } from "./grants.ts";
import { hotCode } from "./hot_code.ts";
import { messages } from "./messages.ts";
import { mesh } from "./mesh.ts";
import { processes } from "./processes.ts";
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
  processes,
  rest,
  calm,
];
