/**
 * Checks bearer tokens in constant time. Takes a request's `Authorization` header; gives whether
 * the token is right. Source: RFC 6750 §2.1.
 */
import { createHash, timingSafeEqual } from "node:crypto";

const SCHEME = "bearer ";

/**
 * A check for `token`.
 *
 * Digests of equal length are compared in constant time, so that the time taken reveals neither the
 * length nor the first wrong character of a guess.
 */
export function bearerCheck(token: string): (authorization: string | null) => boolean {
  const wanted = digest(token);
  return (authorization) => {
    const given = tokenOf(authorization ?? "");
    return timingSafeEqual(digest(given), wanted) && given !== "";
  };
}

/** The text after `Bearer` and its spaces; empty if the header has another form. */
function tokenOf(authorization: string): string {
  if (authorization.slice(0, SCHEME.length).toLowerCase() !== SCHEME) return "";
  let start = SCHEME.length;
  while (authorization[start] === " ") start++;
  return authorization.slice(start);
}

function digest(text: string): Uint8Array {
  return createHash("sha256").update(text).digest();
}
