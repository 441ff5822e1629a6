/**
 * The path of a call as response headers.
 *
 * `Atlas-Path` lists nodes as `<region>/<node>`, from the node that was asked to the owner; a comma
 * in a name is percent-encoded. `Atlas-Region` is the owner's region. A failed call has both too,
 * for the part of the path that it reached. `Atlas-Verdict` is sent only if the owner couldn't
 * reach the store: `suspect` or `contested`.
 */
import { regionOf } from "../../src/model/call_path.ts";
import type { DegradedVerdict } from "../../src/model/ownership.ts";

/** The header that lists the nodes a call went through. */
export const PATH_HEADER = "atlas-path";
/** The header that names the region of the owner. */
export const REGION_HEADER = "atlas-region";
/** The header that marks an answer which its owner gave without the store. */
export const VERDICT_HEADER = "atlas-verdict";

/** The headers of an answer that took this path; without a pointer, to its last node. */
export function pathHeaders(
  path: readonly string[],
  rrp: string = path.at(-1) ?? "",
): Record<string, string> {
  let text = "";
  for (const node of path) {
    const encoded = node.includes(",") ? node.replaceAll(",", "%2C") : node;
    text = text === "" ? encoded : `${text}, ${encoded}`;
  }
  return { [PATH_HEADER]: text, [REGION_HEADER]: regionOf(rrp) };
}

/** The path in an answer's headers; empty if they have none. */
export function readPath(headers: Headers): readonly string[] {
  const text = headers.get(PATH_HEADER);
  if (!text) return [];
  return text.split(",").map((node) => node.trim().replaceAll("%2C", ","));
}

/** The verdict in an answer's headers; null if they have none. */
export function readVerdict(headers: Headers): DegradedVerdict | null {
  const text = headers.get(VERDICT_HEADER);
  return text === "suspect" || text === "contested" ? text : null;
}
