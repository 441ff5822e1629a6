/**
 * Encodes a store's cursor, which may hold any character, as text that is safe in a URL, and
 * decodes it. Source: RFC 4648 §5 (base64url), without padding.
 */
import { AtlasError } from "../../src/errors.ts";
import { quoted } from "../../src/model/options.ts";
import { base64 } from "./json.ts";

/** A store's cursor as a page's `next` tells it; null stays null: there is no next page. */
export function cursorText(cursor: string | null): string | null {
  if (cursor === null) return null;
  const text = base64(new TextEncoder().encode(cursor));
  return text.replaceAll("+", "-").replaceAll("/", "_").replace(/={1,2}$/, "");
}

/** The store's cursor that a `next` was made of. @throws AtlasError `bad_request` */
export function readCursor(text: string): string {
  try {
    const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
    const bytes = Uint8Array.from(binary, (it) => it.charCodeAt(0));
    const cursor = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    // `atob` takes more than base64url: white space, too.
    if (cursorText(cursor) === text) return cursor;
  } catch {
    // Neither base64url nor UTF-8.
  }
  const allowed = "it must be the `next` of an earlier page";
  throw new AtlasError("bad_request", `query cursor is ${quoted(text)}: ${allowed}`);
}
