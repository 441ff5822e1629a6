/**
 * Covers adapters/store/redis/replies.ts: replies of a Redis as the store reads them; impossible
 * ones are errors.
 */
import { expect, test } from "vitest";
import { MAX_TERM } from "../../adapters/store/check.ts";
import { registrationOf, renewalOf } from "../../adapters/store/redis/replies.ts";

test.each([0, 7, "7", MAX_TERM])("a lineage's term %j is read", (term) => {
  expect(renewalOf(["live", 1, "id", term, "1"]).lineage)
    .toEqual({ id: "id", term: Number(term), settled: true });
});

test.each([-1, 0.5, MAX_TERM + 1, "100000", 2_147_483_648, "", null, "x"])(
  "an impossible term %j of a lineage is an error",
  (term) => {
    const refusal = expect.objectContaining({ code: "unavailable" });
    expect(() => renewalOf(["live", 1, "id", term, "1"])).toThrow(refusal);
    expect(() => registrationOf(["registered", 1, "id", term, "1"])).toThrow(refusal);
  },
);
