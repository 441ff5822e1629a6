/**
 * Reports HTTP redirects, which are never followed, because a token would go along. Takes a
 * response; gives the address that it points to, for the error. Browser-safe.
 */

/** The longest target that an error names, in characters. */
const MAX_TARGET = 200;

/**
 * Describes a redirect, such as `redirects to https://a/ (HTTP 301)`; null for any other
 * response. Query and user are left out, because they may hold secrets.
 *
 * @param asked the requested URL.
 */
export function redirectOf(
  { status, type, headers }: Pick<Response, "status" | "type" | "headers">,
  asked: string,
): string | null {
  // Browsers tell only that it is a redirect.
  if (type === "opaqueredirect") return "redirects";
  return redirectTo(status, headers.get("location"), asked);
}

/** The same of a status and a header `Location`. */
export function redirectTo(status: number, location: string | null, asked: string): string | null {
  if (status < 300 || status >= 400 || status === 304) return null;
  const target = location === null ? null : targetOf(location, asked);
  return `redirects${target === null ? "" : ` to ${target}`} (HTTP ${status})`;
}

/** Parsed, so that no raw header text gets into a message. */
function targetOf(location: string, asked: string): string | null {
  try {
    const { protocol, host, pathname } = new URL(location, asked);
    return `${protocol}//${host}${pathname}`.slice(0, MAX_TARGET);
  } catch {
    return null;
  }
}
