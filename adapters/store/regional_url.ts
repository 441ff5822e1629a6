/**
 * Reads a registry that is given by region: a list of towns and their notaries, first the
 * one to whom all belongs that says nothing else.
 *
 * It takes `us-east-1=redis://…,eu-west-1=https://…` and gives regions and URLs.
 */
import { AtlasError, messageOf } from "../../src/errors.ts";
import { checkRegion } from "./regional_input.ts";

/** A region before a URL, at the beginning or after a comma. A URL itself may hold commas. */
const ENTRY = /(?:^|,)\s*([^\s,=/?#]+)=(?=[a-z]+(?:\+[a-z]+)?:)/g;

/**
 * A registry's URLs by region, in their order; null where `text` is a single URL.
 *
 * @throws AtlasError `bad_request` that names the region which isn't allowed or stands twice.
 */
export function parseRegistries(text: string): ReadonlyMap<string, string> | null {
  const found = [...text.matchAll(ENTRY)];
  if (found[0]?.index !== 0) return null;
  const registries = new Map<string, string>();
  found.forEach((entry, i) => {
    const region = checked(entry[1] as string);
    if (registries.has(region)) throw refused(region, "it stands there twice");
    const end = found[i + 1]?.index ?? text.length;
    registries.set(region, text.slice(entry.index + entry[0].length, end).trim());
  });
  return registries;
}

function checked(region: string): string {
  try {
    checkRegion(region);
    return region;
  } catch (cause) {
    throw refused(region, messageOf(cause));
  }
}

function refused(region: string, why: string): AtlasError {
  return new AtlasError(
    "bad_request",
    `registry URL has the region ${JSON.stringify(region)} (${why}): use ` +
      "<region>=<URL>,<region>=<URL>, each region once",
  );
}
