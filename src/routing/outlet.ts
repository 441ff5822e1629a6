/**
 * The doors through which calls leave: one for a node's own users, one for each
 * resource, which adds the running turn's chain and deadline to what goes out.
 */
import type {
  Atlas,
  CallOptions,
  CallResult,
  LookupOptions,
  PageOptions,
  ResourcePage,
} from "../api.ts";
import type { ModuleAtlas } from "../lambda/api.ts";
import type { Member } from "../model/member.ts";
import type { Lookup } from "../model/ownership.ts";
import { resourceKey } from "../model/rrp.ts";
import type { CallContext } from "./out_call.ts";
import { makeStub } from "./stub.ts";

/** What an outlet passes on to. */
export interface Exchange {
  call(
    target: { readonly type: string; readonly key: string },
    method: string,
    args: readonly unknown[],
    options: CallOptions,
    context: CallContext | null,
  ): Promise<CallResult>;
  lookup(type: string, id: string, options: LookupOptions): Promise<Lookup>;
  members(): Promise<readonly Member[]>;
  resources(prefix: string, page: PageOptions): Promise<ResourcePage>;
  count(prefix: string, options: Pick<CallOptions, "timeoutMs">): Promise<number>;
}

/**
 * An outlet whose calls carry what `context` answers at the moment they are made; what has to
 * do with modules goes to `modules`.
 */
export function makeOutlet(
  exchange: Exchange,
  modules: ModuleAtlas,
  context: () => CallContext | null,
): Atlas {
  return {
    async call(type, id, method, args, options = {}) {
      const target = { type, key: resourceKey(type, id) };
      return await exchange.call(target, method, args, options, context());
    },
    resource(type, id, options = {}) {
      const target = { type, key: resourceKey(type, id) };
      const stub = makeStub((method, args) =>
        exchange.call(target, method, args, options, context()).then(resultOf)
      );
      // deno-lint-ignore no-explicit-any
      return stub as any;
    },
    lookup: (type, id, options = {}) => exchange.lookup(type, id, options),
    members: () => exchange.members(),
    resources: (prefix, page = {}) => exchange.resources(prefix, page),
    discover: (name, options) => modules.discover(name, options),
    request: (module, name, args, options) => modules.request(module, name, args, options),
    modules: () => modules.modules(),
    exchange: (name) => modules.exchange(name),
    authorities: () => modules.authorities(),
    count: (prefix, options = {}) => exchange.count(prefix, options),
  };
}

function resultOf(answer: CallResult): unknown {
  return answer.result;
}
