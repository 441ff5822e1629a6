/**
 * Derives homes of keys from placement: a type with `placement: { region }` has its home in that
 * region.
 *
 * Takes an app, the registry's URL and the program's `homes`; an id's prefix, `homes.types` and
 * `homes.rule` take precedence. Placement policies by prefix don't count: they differ between
 * nodes, and a home must not.
 */
import { type App, resolveTypes } from "../../src/api/app.ts";
import { AtlasError } from "../../src/errors.ts";
import type { HomeRules } from "../store/regional/homes.ts";
import { parseRegistries } from "../store/regional/url.ts";

/**
 * @param registry of one registry for all regions nothing changes: keys have no homes there.
 * @throws AtlasError `bad_request` where a type is placed in a region without a registry
 */
export function placedHomes(
  app: App,
  registry: string,
  homes: HomeRules | undefined,
): HomeRules | undefined {
  const regions = [...parseRegistries(registry)?.keys() ?? []];
  if (regions.length === 0) return homes;
  const placed = new Map<string, string>();
  for (const [type, { placement }] of resolveTypes(app)) {
    if (typeof placement !== "object") continue;
    const { region } = placement;
    if (!regions.includes(region)) {
      throw new AtlasError(
        "bad_request",
        `resource type ${type}: placement.region is ${JSON.stringify(region)}, it must be one of ` +
          `${regions.join(", ")}, the regions of ATLAS_REGISTRY_URL`,
      );
    }
    placed.set(type, region);
  }
  if (placed.size === 0) return homes;
  return { ...homes, rule: (type, id) => homes?.rule?.(type, id) ?? placed.get(type) };
}
