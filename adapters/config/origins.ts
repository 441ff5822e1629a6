/**
 * Parses the origins whose pages may call a node. Takes `ATLAS_ORIGINS` or the option in its
 * place; gives origins as browsers write them, or one error that names the entry. Source: RFC 6454
 * §6.2.
 */
import { AtlasError } from "../../src/errors.ts";
import { quoted } from "../../src/model/options.ts";
import { redactUrl } from "../store/redact_url.ts";

/** Stands for all origins, and stands alone. */
const ALL = "*";
const ALLOWED =
  "use origins as browsers write them, such as https://app.example, or * alone for all";

/**
 * The origins that `given`, else `ATLAS_ORIGINS`, names; none where both are absent.
 *
 * @throws AtlasError `bad_request`, naming the entry that isn't allowed.
 */
export function readOrigins(
  env: { readonly [name: string]: string | undefined },
  given: string | readonly string[] | undefined,
): readonly string[] {
  const name = given === undefined ? "ATLAS_ORIGINS" : "origins";
  const list = entriesOf(given === undefined ? env["ATLAS_ORIGINS"] ?? "" : given);
  if (list === null) throw new AtlasError("bad_request", `${name} is ${quoted(given)}: ${ALLOWED}`);
  const origins = [...new Set(list)];
  const wrong = origins.find((it) => it === ALL ? origins.length > 1 : !isOrigin(it));
  if (wrong === undefined) return origins;
  const shown = quoted(typeof wrong === "string" ? redactUrl(wrong) : wrong);
  throw new AtlasError("bad_request", `${name} has the entry ${shown}: ${ALLOWED}`);
}

function entriesOf(given: string | readonly string[]): readonly string[] | null {
  if (typeof given !== "string") return Array.isArray(given) ? given : null;
  return given.split(",").map((part) => part.trim()).filter(Boolean);
}

function isOrigin(text: unknown): boolean {
  return typeof text === "string" && /^https?:/.test(text) && URL.canParse(text) &&
    new URL(text).origin === text;
}
