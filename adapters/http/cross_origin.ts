/**
 * CORS for the HTTP API. Answers preflights, which carry no token, and adds to all other answers
 * which pages may read them. Cookies are not allowed: the token is in a header. Source: Fetch
 * standard, "CORS protocol".
 */
import { Hono } from "hono";
import { cors } from "hono/cors";
import {
  CALLER_REGION_HEADER,
  IDEMPOTENCY_HEADER,
  NO_WAIT_HEADER,
  PURCHASE_HEADER,
  rawPath,
  TIMEOUT_HEADER,
  TRACE_HEADER,
} from "../http_wire/inputs.ts";
import { PATH_HEADER, REGION_HEADER, VERDICT_HEADER } from "../http_wire/path.ts";

/** Headers that pages may send. */
const SENT = [
  "accept",
  "authorization",
  "content-type",
  CALLER_REGION_HEADER,
  IDEMPOTENCY_HEADER,
  NO_WAIT_HEADER,
  PURCHASE_HEADER,
  TIMEOUT_HEADER,
  TRACE_HEADER,
];
/** Headers that pages may read. */
const TOLD = [CALLER_REGION_HEADER, PATH_HEADER, REGION_HEADER, VERDICT_HEADER];
/** How long a browser may cache a preflight, in s: the most that browsers allow. */
const MAX_AGE_S = 7_200;

type Answer = (request: Request) => Promise<Response>;

/** `answer`, with CORS for pages of these origins; `["*"]`: of all. */
export function crossOrigin(origins: readonly string[], answer: Answer): Answer {
  const hono = new Hono({ getPath: rawPath });
  hono.use(cors({
    origin: origins.includes("*") ? "*" : [...origins],
    allowMethods: ["GET", "POST", "DELETE"],
    allowHeaders: SENT,
    exposeHeaders: TOLD,
    maxAge: MAX_AGE_S,
  }));
  hono.all("*", ({ req }) => answer(req.raw));
  return async (request) => await hono.fetch(request);
}
