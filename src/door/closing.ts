/** How a door closes client sockets: codes of RFC 6455 §7.4, and own ones by what went wrong. */
import type { ErrorCode } from "../errors.ts";

/** The resource's own code closed the connection. */
export const CLOSED = 1000;
/** The node is on its way out: connect to another. */
export const RESTART = 1012;
/** Too slow, or too much at once: come again later. */
export const LATER = 1013;

/** Own codes start here; an error's is 4000 and its HTTP status. */
const OF_ERROR: { readonly [code in ErrorCode]?: number } = {
  bad_request: 4400,
  invalid_rrp: 4400,
  unauthorized: 4401,
  forbidden: 4403,
  not_found: 4404,
  payload_too_large: 4413,
  app: 4500,
};

/** The code of a socket that is closed because of an error. */
export function closeCodeOf(code: string): number {
  return Object.hasOwn(OF_ERROR, code) ? OF_ERROR[code as ErrorCode] ?? LATER : LATER;
}
