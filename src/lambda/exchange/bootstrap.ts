/**
 * Bootstrap: finds authorities for this node.
 *
 * Takes `search` when they are wanted soon, `met` and `lost` of those who talk to authorities.
 * Resolves its list now and then, and asks each address on it, and each authority once met that
 * was lost (`seek` to its broker); passes the `news` on to the broker and, where there is one, the
 * authority of this node. A list that takes too long is asked for again; its answer still counts.
 *
 * Source: design §5, Bootstrap.
 */
import { AtlasError, messageOf } from "../../errors.ts";
import { BOOTSTRAP_MS, BOOTSTRAP_SOON_MS } from "../../limits.ts";
import { quoted } from "../../model/options.ts";
import type { Timer } from "../../ports/clock.ts";
import type { Peer } from "../../ports/transport.ts";
import { type Address, addressOf, AUTHORITY, BROKER } from "../bus/address.ts";
import type { Bootstrap as Source, BootstrapNode } from "../../api/options.ts";
import type { BusMessage } from "../bus/messages.ts";
import { Process } from "../bus/process.ts";
import { KnownAuthorities } from "./known_authorities.ts";

const MAX_PORT = 65_535;
/** Nodes of one list that are asked. */
const MAX_NODES = 1_024;

/** A source that was checked: what it names now. */
export type Resolve = (signal: AbortSignal) => Promise<readonly BootstrapNode[]>;

/**
 * What a bootstrap option names, each time it is asked.
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

/** What a function of users answered. @throws AtlasError `bad_request` */
export function checkNodes(answer: readonly BootstrapNode[]): readonly BootstrapNode[] {
  const isList = Array.isArray(answer);
  const at = isList ? answer.findIndex((node) => !isNode(node)) : 0;
  if (isList && at < 0) return answer;
  const what = isList ? `a list with ${quoted(answer[at])} in it` : quoted(answer);
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
  readonly #remembered = new KnownAuthorities();
  /** The look that is awaited; null: none. */
  #looking: AbortController | null = null;
  /** Asked to look again while it was looking. */
  #again = false;
  /** Whether any authority was told of since one was lost: those asked may know none yet. */
  #isTold = false;

  /** @param meet finds out who answers at an address: an incarnation, null for this node. */
  constructor(resolve: Resolve, meet: (address: string) => Promise<string | null>) {
    super();
    this.#resolve = resolve;
    this.#meet = meet;
  }

  protected override started(): void {
    this.#look();
  }

  protected override stopped(): void {
    this.#looking?.abort();
  }

  receive(letter: BusMessage): void {
    switch (letter.kind) {
      case "news":
        return this.#pass(letter);
      case "met":
        return this.#remembered.met(letter.peer);
      case "lost":
        return this.#remembered.lost(letter.peer, this.context.now());
      case "search":
        return this.#search(letter.now);
    }
  }

  #search(now: boolean): void {
    if (!now) this.#isTold = false;
    if (this.#looking) this.#again = true;
    else if (now) this.#look();
    else if (this.#dueAt - this.context.now() > BOOTSTRAP_SOON_MS) this.#plan(this.#soonMs());
  }

  /** Resolves and asks, and seeks those that were lost; at most one look is awaited. */
  #look(): void {
    const looking = this.#looking = new AbortController();
    this.#timer?.cancel();
    this.#again = false;
    const late = this.context.after(BOOTSTRAP_MS, () => {
      looking.abort();
      this.#looked(looking, `no answer within ${BOOTSTRAP_MS} ms`);
    });
    for (const address of this.#remembered.due(this.context.now())) void this.#ask(address);
    this.#resolveAll(looking.signal).then((isWhole) => {
      late.cancel();
      this.#looked(looking, null, isWhole);
    }, (error) => {
      late.cancel();
      this.#looked(looking, messageOf(error));
    });
  }

  /** Answers whether all of the list could be asked. */
  async #resolveAll(signal: AbortSignal): Promise<boolean> {
    const nodes = await this.#resolve(signal);
    if (this.hasEnded) return false;
    const found = await Promise.all(nodes.slice(0, MAX_NODES).map((node) => this.#ask(node)));
    return found.every((ok) => ok);
  }

  /** A look is over, or is awaited no longer. */
  #looked(looking: AbortController, trouble: string | null, isWhole: boolean = false): void {
    if (this.#looking !== looking || this.hasEnded) return;
    this.#looking = null;
    if (trouble !== null) this.context.tell("warning", "bootstrap failed", { why: trouble });
    const isDone = isWhole && this.#isTold;
    this.#attempt = isDone ? 0 : this.#attempt + 1;
    this.#plan(isDone && !this.#again ? BOOTSTRAP_MS : this.#soonMs());
  }

  /** Whether the node could be asked; a peer of the registry is an authority by its own word. */
  async #ask(node: BootstrapNode): Promise<boolean> {
    const contact = this.context.self();
    if (typeof node !== "string") {
      if (node.incarnation !== contact.incarnation) {
        this.#pass({ kind: "news", contact: node, authorities: [node], exchanges: [] });
      }
      return true;
    }
    let incarnation: string | null;
    try {
      incarnation = await this.#meet(node);
    } catch (error) {
      if (!this.hasEnded) {
        this.context.tell("debug", "bootstrap address", { address: node, why: messageOf(error) });
      }
      return false;
    }
    if (incarnation !== null && !this.hasEnded) {
      this.context.send(addressOf(incarnation, BROKER), { kind: "seek", contact });
    }
    return true;
  }

  #pass(news: BusMessage & { kind: "news" }): void {
    this.#isTold ||= news.authorities.length > 0;
    const parts: readonly Address[] = [addressOf("", BROKER), addressOf("", AUTHORITY)];
    for (const part of parts) this.context.send(part, news);
  }

  #soonMs(): number {
    const full = Math.min(BOOTSTRAP_MS, BOOTSTRAP_SOON_MS * 2 ** Math.min(this.#attempt, 8));
    return full * (0.5 + this.context.random() / 2);
  }

  #plan(ms: number): void {
    this.#timer?.cancel();
    this.#dueAt = this.context.now() + ms;
    this.#timer = this.context.after(ms, () => this.#look());
  }
}
