/**
 * Reports HTTP redirects, which are never followed, because a token would go along. Takes a
 * response; gives the address that it points to, for the error. Browser-safe.
 */

/** The longest target that an error names, in characters. */
const MAX_TARGET = 200;

/**
 * What an answer that is a redirect says of its target, such as `redirects to https://a/ (HTTP
 * 301)`; null where it is none. Query and user are left out, for they may hold secrets.
 *
 * @param asked the URL that was asked for.
 */
export function redirectOf(
  { status, type, headers }: Pick<Response, "status" | "type" | "headers">,
  asked: string,
): string | null {
  // Browsers say nothing more than that it is one.
  if (type === "opaqueredirect") return "redirects";
  return redirectTo(status, headers.get("location"), asked);
}

/** The same of a status and a header `Location`. */
export function redirectTo(status: number, location: string | null, asked: string): string | null {
  if (status < 300 || status >= 400 || status === 304) return null;
  const target = location === null ? null : targetOf(location, asked);
  return `redirects${target === null ? "" : ` to ${target}`} (HTTP ${status})`;
}

/** Parsed, so that nothing of a header stands in a message as it came. */
function targetOf(location: string, asked: string): string | null {
  try {
    const { protocol, host, pathname } = new URL(location, asked);
    return `${protocol}//${host}${pathname}`.slice(0, MAX_TARGET);
  } catch {
    return null;
  }
}
