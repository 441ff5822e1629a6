/**
 * The calls that leave this node's code: one facade for the node's users, one for each resource,
 * which adds the running turn's call chain and deadline.
 */
import {
  type CallOptions,
  type CallResult,
  checkCall,
  checkLookup,
  checkPage,
  checkTimeout,
  type LookupOptions,
  NO_OPTIONS,
  type PageOptions,
  type ResourcePage,
  type TimeoutOptions,
} from "../api/calls.ts";
import type { ModuleAtlas } from "../api/modules.ts";
import type { Atlas } from "../api/node.ts";
import { makeStub } from "../api/proxies.ts";
import { AtlasError } from "../errors.ts";
import type { Member } from "../model/member.ts";
import { checkArguments, quoted } from "../model/options.ts";
import type { Lookup } from "../model/ownership.ts";
import { resourceKey } from "../model/rrp.ts";
import type { Activation } from "../resource/activation.ts";
import type { CallContext } from "../routing/local_call.ts";

/** The back end that a facade passes calls to. */
export interface CallBackend {
  call(
    target: { readonly type: string; readonly key: string },
    method: string,
    args: readonly unknown[],
    options: CallOptions,
    context: CallContext | null,
  ): Promise<CallResult>;
  /** The same, but resolves to the method's result alone. */
  result(...call: Parameters<CallBackend["call"]>): Promise<unknown>;
  lookup(type: string, id: string, options: LookupOptions): Promise<Lookup>;
  members(): Promise<readonly Member[]>;
  resources(prefix: string, page: PageOptions): Promise<ResourcePage>;
  count(prefix: string, options: TimeoutOptions): Promise<number>;
}

/**
 * A facade whose calls carry the result of `context` at the time they are made; `modules` handles
 * modules. If `context` throws, no call is made.
 */
export function makeFacade(
  backend: CallBackend,
  modules: ModuleAtlas,
  context: () => CallContext | null,
): Atlas {
  return {
    call(type, id, method, args, options = NO_OPTIONS) {
      try {
        const target = { type, key: resourceKey(type, id) };
        checkCall(options);
        checkMethod(type, method);
        return backend.call(target, method, checkArguments(args), options, context());
      } catch (error) {
        return Promise.reject(error);
      }
    },
    resource(type, id, options = NO_OPTIONS) {
      const target = { type, key: resourceKey(type, id) };
      checkCall(options);
      const stub = makeStub((method, args) =>
        backend.result(target, method, args, options, context())
      );
      // deno-lint-ignore no-explicit-any
      return stub as any;
    },
    lookup(type, id, options = NO_OPTIONS) {
      try {
        context();
        if (options !== NO_OPTIONS) checkLookup(options);
        return backend.lookup(type, id, options);
      } catch (error) {
        return Promise.reject(error);
      }
    },
    async members() {
      context();
      return await backend.members();
    },
    async resources(prefix, page = {}) {
      context();
      return await backend.resources(prefix, checkPage(page));
    },
    async discover(name, options) {
      context();
      return await modules.discover(name, options);
    },
    async request(module, name, args, options) {
      context();
      return await modules.request(module, name, args, options);
    },
    async modules() {
      context();
      return await modules.modules();
    },
    async exchange(name) {
      context();
      return await modules.exchange(name);
    },
    async authorities() {
      context();
      return await modules.authorities();
    },
    async count(prefix, options = {}) {
      context();
      return await backend.count(prefix, checkTimeout(options));
    },
  };
}

/** Only the owner knows which methods exist; but no type has a method with an empty name. */
function checkMethod(type: string, method: string): void {
  if (typeof method === "string") return;
  throw new AtlasError("not_found", `${type} has no method ${quoted(method)}`);
}

/**
 * What a resource's calls inherit from their turn.
 *
 * @throws AtlasError `bad_request` if they are made outside of a turn
 */
export function contextOf(from: Activation): CallContext {
  const { call } = from.turn("node");
  return {
    chain: [...call?.chain ?? [], from.chainEntry],
    deadline: call?.deadline ?? Infinity,
    trace: call?.trace ?? null,
  };
}
