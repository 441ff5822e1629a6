/**
 * Drains nodes by name or prefix: each gets `$drain` over a link that has proven which node it
 * leads to, so that no other node receives it.
 *
 * Takes a node's name or a prefix; gives each node's answer. Also answers such requests of other
 * nodes, and as a gateway passes on requests for nodes behind it.
 */
import { checkTimeout, type DrainOptions } from "../api/calls.ts";
import type { DrainedNode, DrainNodesOptions } from "../api/node.ts";
import { AtlasError, messageOf, toAtlasError } from "../errors.ts";
import { DEFAULT_TIMEOUT_MS } from "../limits.ts";
import type { Links, Session } from "../links/links.ts";
import type { RegionRoutes } from "../links/region_routes.ts";
import { nodeName } from "../model/call_path.ts";
import { DRAIN } from "../model/internal_methods.ts";
import type { Member } from "../model/member.ts";
import type { NodeEvent } from "../model/node_event.ts";
import { checkOptions, type OptionNames, quoted } from "../model/options.ts";
import type { Clock } from "../ports/clock.ts";
import type { Store } from "../ports/store.ts";
import type { NodeLife } from "../registry/lease.ts";
import type { Membership } from "../registry/membership.ts";
import { checkDrain } from "../resource/host.ts";
import { within } from "../time/wait.ts";
import { askNode } from "./node_request.ts";
import type { RelayedCall } from "./relayed_call.ts";

/** The number of nodes that are asked at once. */
const AT_ONCE = 32;
/**
 * How much earlier than the caller's deadline the wait for an answer ends, as a share of the
 * caller's time.
 */
const ANSWER_SHARE = 1 / 8;

const OPTIONS: OptionNames<DrainNodesOptions> = {
  node: true,
  prefix: true,
  forMs: true,
  timeoutMs: true,
};

export interface DrainParts {
  readonly store: Store;
  readonly links: Links;
  readonly routes: RegionRoutes;
  readonly membership: Membership;
  readonly clock: Clock;
  readonly place: { readonly region: string; readonly node: string };
  readonly life: () => NodeLife;
  /** Drains this node. */
  readonly drain: (options?: DrainOptions) => Promise<void>;
  readonly onEvent: (event: NodeEvent) => void;
}

export class Drains {
  readonly #parts: DrainParts;

  constructor(parts: DrainParts) {
    this.#parts = parts;
  }

  /** See {@link AtlasNode.drainNodes}. */
  async drainNodes(options: DrainNodesOptions): Promise<readonly DrainedNode[]> {
    const { node, prefix, forMs, timeoutMs = DEFAULT_TIMEOUT_MS } = checkOptions(options, OPTIONS);
    checkTimeout({ timeoutMs });
    const { clock, store } = this.#parts;
    const until = clock.now() + timeoutMs * (1 - ANSWER_SHARE);
    const part = partOf(node, prefix, forMs);
    const { members } = await within(clock, timeoutMs, store.members(), "reading the members");
    const live = members.filter(({ state }) => state === "live");
    const concerned = node === undefined
      ? underPrefix(live, prefix as string)
      : [this.#named(live, node)];
    const left = concerned.entries();
    const drained: DrainedNode[] = [];
    const work = async (): Promise<void> => {
      for (const [i, member] of left) drained[i] = await this.#note(member, part, until);
    };
    await Promise.all(Array.from({ length: Math.min(AT_ONCE, concerned.length) }, work));
    return drained;
  }

  /** Answers a `$drain` of another node. */
  async answer(call: RelayedCall): Promise<void> {
    try {
      const [incarnation, prefix, forMs] = call.arguments();
      const part = prefix === null ? undefined : { prefix, forMs } as DrainOptions;
      if (part) checkDrain(part);
      if (incarnation === this.#parts.life().incarnation) this.#begin(part);
      else await this.#passOn(call, String(incarnation), part);
      call.succeed(call.encode(null), { rrp: "", incarnation: "", epoch: 0 }, null);
    } catch (error) {
      call.reject(toAtlasError(error));
    }
  }

  /** Asks one node; its failure is part of the result, not thrown. */
  async #note(
    member: Member,
    part: DrainOptions | undefined,
    until: number,
  ): Promise<DrainedNode> {
    const { region, node, incarnation } = member;
    const { clock, life, place } = this.#parts;
    try {
      if (incarnation === life().incarnation) this.#begin(part);
      else {
        const ms = Math.max(1, until - clock.now());
        const opening = this.#session(member);
        const session = await within(clock, ms, opening, `the link to ${nodeName(member)}`);
        await this.#ask(session, incarnation, part, [nodeName(place)], until);
      }
      return { region, node, incarnation, error: null };
    } catch (error) {
      return { region, node, incarnation, error: toAtlasError(error) };
    }
  }

  /** Starts the drain and answers at once, because a drain may take long. */
  #begin(part: DrainOptions | undefined): void {
    this.#parts.drain(part).catch((error: unknown) =>
      this.#parts.onEvent({
        level: "error",
        event: "drain failed",
        fields: { error: messageOf(error) },
      })
    );
  }

  async #passOn(
    call: RelayedCall,
    incarnation: string,
    part: DrainOptions | undefined,
  ): Promise<void> {
    const { membership, links, life, place } = this.#parts;
    if (!membership.peek(incarnation)) await membership.refresh();
    const member = membership.peek(incarnation);
    if (!member || member.region !== place.region || member.state !== "live") {
      throw new AtlasError("unavailable", `no node of region ${place.region} is ${incarnation}`);
    }
    const session = await links.to(member, life());
    await this.#ask(session, incarnation, part, [...call.via, nodeName(place)], call.expiresAt);
  }

  /** A link to a member, or to a node that passes the request on. */
  async #session(member: Member): Promise<Session> {
    const { links, routes, life, place } = this.#parts;
    if (member.region === place.region) return await links.to(member, life());
    return (await routes.find(member, member.incarnation, member.region)).session;
  }

  async #ask(
    session: Session,
    incarnation: string,
    part: DrainOptions | undefined,
    via: readonly string[],
    until: number,
  ): Promise<void> {
    const { clock } = this.#parts;
    const timeoutMs = Math.max(1, until - clock.now());
    const args = [incarnation, part?.prefix ?? null, part?.forMs ?? null];
    const key = `nodes/${encodeURIComponent(incarnation)}`;
    await askNode(session, { key, method: DRAIN, args, via, timeoutMs, acts: true }, clock);
  }

  /** The live node with a name. */
  #named(live: readonly Member[], name: string): Member {
    const found = live.filter((member) => member.node === name || nodeName(member) === name);
    if (found.length === 1) return found[0] as Member;
    if (found.length === 0) throw new AtlasError("not_found", `there is no live node ${name}`);
    const names = found.map(nodeName).join(", ");
    throw new AtlasError("bad_request", `several nodes are called ${name}: use one of ${names}`);
  }
}

/** What each node has to drain; undefined: everything, and the node leaves. */
function partOf(
  node: string | undefined,
  prefix: string | undefined,
  forMs: number | undefined,
): DrainOptions | undefined {
  if (node !== undefined && typeof node !== "string") {
    throw new AtlasError("bad_request", `node is ${quoted(node)}, it must be a node's name`);
  }
  if (prefix !== undefined) return checkDrain({ prefix, ...forMs !== undefined && { forMs } });
  if (forMs !== undefined) throw new AtlasError("bad_request", "forMs goes with a prefix only");
  if (node === undefined) throw new AtlasError("bad_request", "a node or a prefix must be named");
  return undefined;
}

/** Live nodes that may have resources under a prefix. */
function underPrefix(live: readonly Member[], prefix: string): Member[] {
  const found = live.filter((member) => {
    const own = `rrp:${nodeName(member)}/`;
    return own.startsWith(prefix) || prefix.startsWith(own);
  });
  if (found.length > 0) return found;
  throw new AtlasError("not_found", `no live node has resources of ${prefix}`);
}
