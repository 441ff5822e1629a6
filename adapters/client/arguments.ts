/** What a client checks and encodes before anything is sent. Browser-safe. */
import { AtlasError } from "../../src/errors.ts";
import { MAX_BODY_BYTES } from "../../src/limits.ts";
import { isCallable } from "../../src/model/internal_methods.ts";
import { checkArguments, quoted } from "../../src/model/options.ts";
import { checkToken } from "../../src/model/rrp.ts";
import { encodeValue } from "../../src/model/value.ts";

/** Arguments as a body. @throws AtlasError `bad_request`, `payload_too_large` */
export function encodeArguments(args: readonly unknown[]): Uint8Array {
  return encodeValue(checkArguments(args), "arguments", MAX_BODY_BYTES);
}

/** The path of a module's function. @throws AtlasError `invalid_rrp`, `not_found` */
export function functionPath(module: string, name: string): string {
  checkToken("module", module);
  // `fetch` would remove a dot segment from the path.
  if (isCallable(name) && !/^\.{1,2}$/.test(name)) {
    return `/v1/modules/${module}/${encodeURIComponent(name)}`;
  }
  throw new AtlasError("not_found", `${module} has no function ${quoted(name)}`);
}
