/**
 * Removes passwords and tokens from URLs and from messages that quote them.
 *
 * Takes a registry's URL, a list of them, or a message; gives the same without secrets. Nothing is
 * parsed, since a password may hold `/`, `?`, `#` or `@`, which end a URL's parts early: all
 * between `//` and the last `@` is removed, and secret values of the query.
 */

/** Where the next URL of a list begins. */
const NEXT = /(?=,\s*(?:[^\s,=/?#@]+=)?(?:[a-z][a-z0-9+.-]*:\/\/|memory:|file:))/i;

/** What comes before a URL's secrets: a comma, a region, the scheme. */
const HEAD = /^(?:static:)?,?\s*(?:[^\s,=/?#@]+=)?(?:[a-z][a-z0-9+.-]*:\/\/|memory:|file:)/i;

/** A query's parameter whose value is secret. */
const SECRET = /([?&][^=&#]*(?:password|token|secret)[^=&#]*=)([^&]+)/gi;

/** A port that is no number: a password whose `@host` is missing. */
const NO_PORT = /(?<=(?:^|,)[^\s,:/?#[\]]+:)(?!\d*(?:[,/?#]|$)).*$/s;

/** Shorter passwords are redacted from messages as whole words only. */
const LEAST_SECRET = 6;

/** `text`, a URL or a list of URLs, without anything that may be secret. */
export function redactUrl(text: string): string {
  return text.split(NEXT).map(redactOne).join("");
}

/** `url` for a message: redacted, quoted and shortened. */
export function quotedUrl(url: unknown): string {
  return JSON.stringify(redactUrl(String(url)).slice(0, 200));
}

/** `message` without the secrets of `urls`, in any of their forms. */
export function redactIn(message: string, urls: readonly string[]): string {
  let text = message;
  for (const url of urls) text = text.replaceAll(url, redactUrl(url));
  for (const secret of urls.flatMap(secretsOf)) {
    const literal = secret.replace(/[^\w\s]/g, "\\$&");
    const isWord = secret.length < LEAST_SECRET;
    const pattern = isWord ? `(?<!\\w)${literal}(?!\\w)` : literal;
    text = text.replace(new RegExp(pattern, "g"), "***");
  }
  return text;
}

function redactOne(url: string): string {
  const head = HEAD.exec(url)?.[0] ?? "";
  if (isFile(head)) return url;
  const rest = url.slice(head.length);
  const at = rest.lastIndexOf("@");
  if (at < 0) {
    const place = head.endsWith("//") ? rest.replace(NO_PORT, "***") : rest;
    return head + place.replace(SECRET, "$1***");
  }
  // A secret in the query may hold the last "@": what follows it is the secret's end.
  if ([...rest.matchAll(SECRET)].some(([, , value = ""]) => value.includes("@"))) {
    return `${head}***`;
  }
  return `${head}***@${rest.slice(at + 1).replace(/[?#].*$/s, "?…")}`;
}

/** The secrets of `url`, as written, decoded, and encoded again. */
function secretsOf(url: string): string[] {
  const head = HEAD.exec(url)?.[0] ?? "";
  const rest = isFile(head) ? "" : url.slice(head.length);
  const login = rest.slice(0, Math.max(0, rest.lastIndexOf("@")));
  const written = [
    login.slice(login.indexOf(":") + 1),
    ...[...rest.matchAll(SECRET)].map(([, , value = ""]) => value),
  ];
  const decoded = written.map((text) => attempt(decodeURIComponent, text));
  const encoded = decoded.map((text) => attempt(encodeURIComponent, text));
  return [...new Set([...written, ...decoded, ...encoded])].filter((secret) => secret !== "");
}

/** Paths of files hold no secrets. */
function isFile(head: string): boolean {
  return /file:(?:\/\/)?$/i.test(head);
}

/** `text` unchanged if it can't be encoded or decoded. */
function attempt(code: (text: string) => string, text: string): string {
  try {
    return code(text);
  } catch {
    return text;
  }
}
