/**
 * Modules for clients: buys through a node and calls over what it bought there. Takes what
 * `discover` and `request` take; gives proxies and answers. Browser-safe.
 */
import type {
  AuthorityView,
  ExchangeView,
  ModuleAtlas,
  ModuleCallResult,
  ModuleProxy,
  ModuleView,
} from "../../src/api/modules.ts";
import { checkRequest, demandOf } from "../../src/lambda/market_options.ts";
import { checkRange } from "../../src/api/module.ts";
import { makeProxy } from "../../src/api/proxies.ts";
import { DEFAULT_DISCOVER_MS } from "../../src/limits.ts";
import { checkMs } from "../../src/model/options.ts";
import { checkToken } from "../../src/model/rrp.ts";
import { ClientPlb } from "./purchase.ts";
import { encodeArguments, functionPath } from "./arguments.ts";
import type { Requester } from "./retrying_requester.ts";

/** What a client can do with modules. */
export function clientModules(request: Requester, defaultMs: number): ModuleAtlas {
  const get = (path: string): Promise<unknown> =>
    request({ method: "GET", path, timeoutMs: defaultMs });
  return {
    async discover(name, options = {}) {
      checkToken("module", name);
      demandOf(options);
      const { timeoutMs = DEFAULT_DISCOVER_MS, callTimeoutMs = defaultMs } = options;
      const plb = new ClientPlb(request, name, { ...options, timeoutMs, callTimeoutMs });
      await plb.open();
      return makeProxy(plb, () => plb.exports) as ModuleProxy;
    },
    async request(module, name, args, options = {}) {
      const { version, timeoutMs = defaultMs, signal } = checkRequest(options);
      if (version !== undefined) checkRange(version);
      const query = version === undefined ? "" : `?${new URLSearchParams({ version })}`;
      const answer = await request({
        method: "POST",
        path: functionPath(module, name) + query,
        body: encodeArguments(args),
        timeoutMs: checkMs("timeoutMs", timeoutMs),
        signal,
      });
      return answer as ModuleCallResult;
    },
    modules: async () => (await get("/v1/modules") as { modules: ModuleView[] }).modules,
    async exchange(name) {
      const path = `/v1/exchanges/${checkToken("module", name)}`;
      return (await get(path) as { exchanges: ExchangeView[] }).exchanges;
    },
    authorities: async () =>
      (await get("/v1/authorities") as { authorities: AuthorityView[] }).authorities,
  };
}
