/**
 * Letters that surely never left: a postmark reader for the errors that `fetch` throws.
 *
 * Takes what it threw; says whether the connection was never made. Browser-safe.
 */

/** Codes of Node and Bun for a connection that was never made, or a TLS handshake that failed. */
const NO_CONNECTION = new RegExp(
  "^(?:ConnectionRefused|ECONNREFUSED|E(?:HOST|NET)UNREACH|E(?:NET|HOST)DOWN|EADDRNOTAVAIL|EACCES|" +
    "ENOTFOUND|EAI_[A-Z]+|FailedToOpenSocket|UND_ERR_CONNECT_TIMEOUT|EPROTO|" +
    "ERR_TLS_[A-Z_]+|ERR_SSL_WRONG_VERSION_NUMBER|ERR_SSL_[A-Z0-9_]*HANDSHAKE_FAILURE|" +
    "CERT_[A-Z_]+|[A-Z_]*SELF_SIGNED_CERT[A-Z_]*|UNABLE_TO_[A-Z_]+|HOSTNAME_MISMATCH|INVALID_CA)$",
);
/** The same in words of Deno, and of all for ports that `fetch` refuses (Fetch standard, §2.9). */
const NOT_SENT =
  /: client error \(Connect\): |^bad port$|^Fetch failed: Requests to port \d+ are blocked$/;

/**
 * Whether the connection was never made, so that nothing was sent. Runtimes say it in
 * different words (Node: a cause's code; Bun: a code; Deno: a cause's message, in which the
 * request's URL stands, too); a browser doesn't say, and counts as unknown.
 */
export function neverSent(thrown: unknown): boolean {
  for (let error = thrown, depth = 0; error instanceof Error && depth < 4; depth++) {
    const { code, syscall } = error as { code?: unknown; syscall?: unknown };
    // A connection that was made may end by the same code.
    if (syscall === "read") return false;
    if (NO_CONNECTION.test(String(code)) || NOT_SENT.test(error.message)) return true;
    error = error.cause;
  }
  return false;
}
