/**
 * The WebSocket subprotocols that carry a token or a resume secret: browsers can't send headers
 * with a WebSocket, and queries are logged. Takes a request's headers; gives what it offers.
 */

/** The subprotocol that carries the token, percent-encoded, starts so. */
export const TOKEN_PROTOCOL = "atlas.token.";
/** The subprotocol that carries the secret of the connection to resume starts so. */
export const RESUME_PROTOCOL = "atlas.resume.";

/** The subprotocols that a request offers, in its order (RFC 6455 §11.3.4). */
export function protocolsOf(headers: Headers): string[] {
  const text = headers.get("sec-websocket-protocol") ?? "";
  return text.split(",").map((protocol) => protocol.trim()).filter((protocol) => protocol !== "");
}

/** What the first offered subprotocol that starts with `prefix` is; undefined where none does. */
export function offeredWith(prefix: string, offered: readonly string[]): string | undefined {
  return offered.find((protocol) => protocol.startsWith(prefix));
}
