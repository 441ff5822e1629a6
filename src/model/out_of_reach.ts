/**
 * Errors for callers if a registry or a node can't be reached: whose it is and why, in general
 * words. Hosts, ports, users and files stay in the error's `detail`, for logs only.
 *
 * Takes an error of a store and gives the one that may leave the node.
 */
import { AtlasError, detailOf, isAtlasError, messageOf } from "../errors.ts";
import { LostTurns } from "./lost_turns.ts";
import { refusalOf, StepRefused } from "./refusal.ts";

/** Messages of clients and servers, and their meaning; the first match counts. */
const MEANINGS: readonly (readonly [pattern: RegExp, meaning: string])[] = [
  [/the store is closed/, "it was closed"],
  [/replicas had the step/, "too few replicas have confirmed the step"],
  [
    /WRONGPASS|NOAUTH|NOPERM|unauthori[sz]ed|forbidden|refused the token|invalid password/i,
    "it refuses this node's credentials",
  ],
  [/ECONNREFUSED|connection refused|ConnectionRefused/i, "it refuses connections"],
  [/ENOTFOUND|EAI_AGAIN|getaddrinfo|failed to lookup/i, "its name can't be resolved"],
  [/EHOSTUNREACH|ENETUNREACH|no route to host|network is unreachable/i, "there is no route to it"],
  [/certificate|\bTLS\b|\bSSL\b|self.signed/i, "no secure connection to it could be made"],
  [/READONLY|LOADING|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|replica of/, "it takes no writes now"],
  [/disk I\/O error/i, "its disk fails (SQLITE_IOERR)"],
  [/was locked for/, "it is in use by other processes"],
  [/no answer within|timed? ?out|ETIMEDOUT|time was up/i, "it doesn't answer in time"],
  [/longer than \d+ bytes/, "its answer is longer than it may be"],
  [/\banswers\b|can't be read|redirect/i, "its answer is not valid"],
  [
    /closed|ended|reset|ECONNRESET|EPIPE|hang up|terminated|writeable|socket/i,
    "the connection to it was lost",
  ],
];

/**
 * An error of a store in a form fit for callers. One with a `detail` is fit already and stays as
 * it is; only `unavailable` ones are reworded.
 *
 * @param region whose registry it is, if that isn't this node's own or there are several.
 */
export function registryErrorForCallers(error: unknown, region: string | null = null): unknown {
  if (!isAtlasError(error) || error.code !== "unavailable") return error;
  if (error instanceof LostTurns) return error;
  const whose = region === null ? "" : `region ${region}: `;
  const isNamed = error.detail !== undefined && /^region \S+: /.test(error.message);
  if (isNamed || error.detail !== undefined && region === null) return error;
  const { code, retryable, maybeExecuted } = error;
  const message = error.detail === undefined ? generally(error) : messageOf(error);
  const refusal = refusalOf(error);
  const detail = whose + detailOf(error);
  if (refusal !== null) return new StepRefused(whose + message, refusal, detail, error);
  return new AtlasError(code, whose + message, {
    retryable,
    maybeExecuted,
    cause: error,
    detail,
  });
}

/** The meaning of an error's message, without host names; null: unknown. */
export function meaningOf(message: string): string | null {
  return MEANINGS.find(([pattern]) => pattern.test(message))?.[1] ?? null;
}

function generally(error: AtlasError): string {
  const meaning = meaningOf(messageOf(error)) ?? "see this node's log";
  return `the registry can't be reached: ${meaning}`;
}
