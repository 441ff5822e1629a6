/**
 * Finds authorities for this node.
 *
 * On `search`, and periodically, resolves its list and asks the broker at each address, and the
 * broker of each authority that was known and then lost (`find_authorities`). Passes each
 * `topology` on to the broker and to the authority of this node, if any. A list that takes longer
 * than `BOOTSTRAP_MS` is resolved again; a late result still counts.
 *
 * Source: `docs/design.md`, Modules.
 */
import type { Bootstrap as Source, BootstrapNode } from "../../api/options.ts";
import { AtlasError, messageOf } from "../../errors.ts";
import { BOOTSTRAP_MS, BOOTSTRAP_SOON_MS, MAX_REMEMBERED, SEEK_MS } from "../../limits.ts";
import { quoted } from "../../model/options.ts";
import type { Timer } from "../../ports/clock.ts";
import type { Peer } from "../../ports/transport.ts";
import { type Address, addressOf, AUTHORITY, BROKER } from "../bus/address.ts";
import type { BusMessage } from "../bus/messages.ts";
import { Process } from "../bus/process.ts";

const MAX_PORT = 65_535;
/** The largest number of nodes of one list that are asked. */
const MAX_NODES = 1_024;

/** Resolves a validated source to the nodes that it names now. */
export type Resolve = (signal: AbortSignal) => Promise<readonly BootstrapNode[]>;

/**
 * Validates a bootstrap option.
 *
 * @param members authorities that the registry knows
 * @throws AtlasError `bad_request`
 */
export function resolverOf(source: Source, members: () => readonly Peer[]): Resolve {
  if (source === "registry") return () => Promise.resolve(members());
  if (typeof source === "function") return async (signal) => checkNodes(await source(signal));
  if (typeof source === "object" && source !== null) {
    if ("static" in source && isTexts(source.static)) {
      const addresses = [...source.static];
      return () => Promise.resolve(addresses);
    }
    if ("dns" in source) {
      const { dns, port, resolve, address } = source;
      const fits = typeof dns === "string" && dns !== "" && Number.isInteger(port) && port >= 1 &&
        port <= MAX_PORT && typeof resolve === "function" && typeof address === "function";
      if (fits) {
        return async (signal) =>
          checkHosts(dns, await resolve(dns, signal)).map((host) => address(host, port));
      }
    }
  }
  throw new AtlasError(
    "bad_request",
    'bootstrap must be "registry", { static: [<address>, …] }, ' +
      "{ dns: <name>, port: 1 to 65535, resolve, address }, or a function",
  );
}

/** Validates the result of a user's function. @throws AtlasError `bad_request` */
export function checkNodes(result: readonly BootstrapNode[]): readonly BootstrapNode[] {
  const isList = Array.isArray(result);
  const at = isList ? result.findIndex((node) => !isNode(node)) : 0;
  if (isList && at < 0) return result;
  const what = isList ? `a list with ${quoted(result[at])} in it` : quoted(result);
  throw new AtlasError(
    "bad_request",
    `bootstrap answered ${what}, it must be a list of addresses, or of ` +
      "{ region, node, incarnation, address }",
  );
}

function checkHosts(dns: string, hosts: readonly string[]): readonly string[] {
  if (Array.isArray(hosts) && hosts.every(isText)) return hosts;
  const message = `${dns} resolves to ${quoted(hosts)}, it must be a list of hosts`;
  throw new AtlasError("bad_request", message);
}

function isNode(node: unknown): boolean {
  if (typeof node !== "object" || node === null) return isText(node);
  const { region, node: name, incarnation, address } = node as Partial<Peer>;
  return isText(region) && isText(name) && isText(incarnation) && typeof address === "string";
}

function isText(value: unknown): boolean {
  return typeof value === "string" && value !== "";
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.length > 0 && value.every(isText);
}

export class Bootstrap extends Process {
  readonly #resolve: Resolve;
  readonly #meet: (address: string) => Promise<string | null>;
  #timer: Timer | null = null;
  #dueAt = Infinity;
  #attempt = 0;
  readonly #known = new KnownAuthorities();
  /** The lookup in progress; null: none. */
  #lookup: AbortController | null = null;
  /** Whether a search was requested during the lookup. */
  #mustRepeat = false;
  /**
   * Whether an authority was found since one was lost. The nodes that were asked may not know any
   * yet.
   */
  #foundAny = false;

  /** @param meet dials an address; gives the incarnation that answers, null for this node. */
  constructor(resolve: Resolve, meet: (address: string) => Promise<string | null>) {
    super();
    this.#resolve = resolve;
    this.#meet = meet;
  }

  protected override started(): void {
    this.#lookUp();
  }

  protected override stopped(): void {
    this.#lookup?.abort();
  }

  receive(message: BusMessage): void {
    switch (message.kind) {
      case "topology":
        return this.#forward(message);
      case "met":
        return this.#known.met(message.peer);
      case "lost":
        return this.#known.lost(message.peer, this.context.now());
      case "search":
        return this.#search(message.now);
    }
  }

  #search(now: boolean): void {
    if (!now) this.#foundAny = false;
    if (this.#lookup) this.#mustRepeat = true;
    else if (now) this.#lookUp();
    else if (this.#dueAt - this.context.now() > BOOTSTRAP_SOON_MS) this.#plan(this.#soonMs());
  }

  /** Resolves the list, asks its nodes and the lost authorities; at most one lookup is awaited. */
  #lookUp(): void {
    const lookup = this.#lookup = new AbortController();
    this.#timer?.cancel();
    this.#mustRepeat = false;
    const late = this.context.after(BOOTSTRAP_MS, () => {
      lookup.abort();
      this.#lookupEnded(lookup, `no answer within ${BOOTSTRAP_MS} ms`);
    });
    for (const address of this.#known.due(this.context.now())) void this.#ask(address);
    this.#resolveAll(lookup.signal).then((isComplete) => {
      late.cancel();
      this.#lookupEnded(lookup, null, isComplete);
    }, (error) => {
      late.cancel();
      this.#lookupEnded(lookup, messageOf(error));
    });
  }

  /** Returns whether every node of the list could be asked. */
  async #resolveAll(signal: AbortSignal): Promise<boolean> {
    const nodes = await this.#resolve(signal);
    if (this.hasStopped) return false;
    const found = await Promise.all(nodes.slice(0, MAX_NODES).map((node) => this.#ask(node)));
    return found.every((ok) => ok);
  }

  /** A lookup ended or timed out; plans the next one. */
  #lookupEnded(lookup: AbortController, error: string | null, isComplete: boolean = false): void {
    if (this.#lookup !== lookup || this.hasStopped) return;
    this.#lookup = null;
    if (error !== null) this.context.log("warning", "bootstrap failed", { why: error });
    const isDone = isComplete && this.#foundAny;
    this.#attempt = isDone ? 0 : this.#attempt + 1;
    this.#plan(isDone && !this.#mustRepeat ? BOOTSTRAP_MS : this.#soonMs());
  }

  /** Returns whether the node could be asked; a registry peer is known to be an authority. */
  async #ask(node: BootstrapNode): Promise<boolean> {
    const contact = this.context.self();
    if (typeof node !== "string") {
      if (node.incarnation !== contact.incarnation) {
        this.#forward({ kind: "topology", contact: node, authorities: [node], exchanges: [] });
      }
      return true;
    }
    let incarnation: string | null;
    try {
      incarnation = await this.#meet(node);
    } catch (error) {
      if (!this.hasStopped) {
        this.context.log("debug", "bootstrap address unreachable", {
          address: node,
          why: messageOf(error),
        });
      }
      return false;
    }
    if (incarnation !== null && !this.hasStopped) {
      this.context.send(addressOf(incarnation, BROKER), { kind: "find_authorities", contact });
    }
    return true;
  }

  #forward(topology: BusMessage & { kind: "topology" }): void {
    this.#foundAny ||= topology.authorities.length > 0;
    const receivers: readonly Address[] = [addressOf("", BROKER), addressOf("", AUTHORITY)];
    for (const to of receivers) this.context.send(to, topology);
  }

  #soonMs(): number {
    const delayMs = Math.min(BOOTSTRAP_MS, BOOTSTRAP_SOON_MS * 2 ** Math.min(this.#attempt, 8));
    return delayMs * (0.5 + this.context.random() / 2);
  }

  #plan(ms: number): void {
    this.#timer?.cancel();
    this.#dueAt = this.context.now() + ms;
    this.#timer = this.context.after(ms, () => this.#lookUp());
  }
}

/** An authority that has answered this node. */
interface Entry {
  incarnation: string;
  /** The time since when it can't be reached, monotonic ms; Infinity: it can be reached. */
  lostAt: number;
  attempts: number;
  dueAt: number;
}

/**
 * Remembers the authorities that this node has known besides those that its list names. Gives the
 * lost ones to be asked again, each after a growing backoff. Bounded: the authority that was lost
 * longest ago is evicted first.
 */
export class KnownAuthorities {
  readonly #entries = new Map<string, Entry>();

  get size(): number {
    return this.#entries.size;
  }

  /** An authority answered. */
  met({ address, incarnation }: Peer): void {
    if (address === "") return;
    this.#entries.delete(address);
    this.#entries.set(address, { incarnation, lostAt: Infinity, attempts: 0, dueAt: Infinity });
    if (this.#entries.size > MAX_REMEMBERED) this.#evictOne();
  }

  /** An authority became unreachable. */
  lost({ address, incarnation }: Peer, now: number): void {
    const entry = this.#entries.get(address);
    // Another authority now answers at that address.
    if (entry?.incarnation !== incarnation || entry.lostAt < Infinity) return;
    entry.lostAt = entry.dueAt = now;
  }

  /** The addresses to ask now. */
  due(now: number): string[] {
    const [least, most] = SEEK_MS;
    const due = [...this.#entries].filter(([, { dueAt }]) => dueAt <= now);
    for (const [, entry] of due) {
      entry.dueAt = now + Math.min(most, least * 2 ** Math.min(entry.attempts++, 16));
    }
    return due.map(([address]) => address);
  }

  #evictOne(): void {
    let [found, since] = ["", Infinity];
    for (const [address, { lostAt }] of this.#entries) {
      if (found !== "" && lostAt >= since) continue;
      [found, since] = [address, lostAt];
    }
    this.#entries.delete(found);
  }
}
