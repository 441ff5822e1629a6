/**
 * Answers users' questions about the market: modules, order books, authorities.
 *
 * Sends an `ask` to the broker here, the authorities, the exchanges and the listeners, and merges
 * their answers. Processes that do not answer within 2 s are left out.
 */
import { compareVersions } from "../api/module.ts";
import type { AuthorityView, ExchangeView, ModuleView, SellerView } from "../api/modules.ts";
import { nodeName } from "../model/call_path.ts";
import type { Clock } from "../ports/clock.ts";
import type { Peer } from "../ports/transport.ts";
import { pause } from "../time/wait.ts";
import { type Address, addressOf, AUTHORITY, BROKER } from "./bus/address.ts";
import type { MessageBus } from "./bus/message_bus.ts";
import type { BusMessage, BusMessageOf } from "./bus/messages.ts";
import { Process } from "./bus/process.ts";

/** The interval, in ms, and the number of polls while no authority is known. */
const POLL_MS = 50;
const MAX_POLLS = 40;

export class Introspection {
  readonly #bus: MessageBus;
  readonly #clock: Clock;
  #queries = 0;

  constructor(bus: MessageBus, clock: Clock) {
    this.#bus = bus;
    this.#clock = clock;
  }

  async authorities(): Promise<AuthorityView[]> {
    const views = (await this.#meshes()).map(({ contact, authorities, brokers, modules }) => ({
      ...identityOf(contact),
      authorities: authorities.length,
      brokers,
      modules,
    }));
    return views.sort(byNode);
  }

  async exchange(name: string): Promise<ExchangeView[]> {
    const authorities = await this.#authorities();
    const books = await this.#books(authorities, name);
    return books.map(({ contact, orders }) => ({ ...identityOf(contact), orders })).sort(byNode);
  }

  async modules(): Promise<ModuleView[]> {
    const meshes = await this.#meshes();
    const authorities = meshes.map(({ contact }) => this.#at(contact, AUTHORITY));
    const names = [...new Set(meshes.flatMap(({ modules }) => modules))].sort();
    const views = await Promise.all(names.map((name) => this.#module(authorities, name)));
    return views.filter(({ sellers }) => sellers.length > 0);
  }

  async #module(authorities: readonly Address[], name: string): Promise<ModuleView> {
    const books = await this.#books(authorities, name);
    const found = books.flatMap(({ sellers }) => sellers.map(({ seller }) => seller));
    const sellers = [...new Set(found)];
    const offers = await this.#ask(sellers, "shop", name) as BusMessageOf<"shop">[];
    const views: SellerView[] = offers.map(({ contact, label, capacity, granted, running }) => ({
      ...identityOf(contact),
      version: label.version,
      hash: label.hash,
      capacity,
      granted,
      inFlight: running,
    }));
    views.sort(byNode);
    return {
      name,
      versions: [...new Set(views.map(({ version }) => version))].sort(compareVersions),
      nodes: [...new Set(views.map(nodeName))],
      capacity: views.reduce((sum, { capacity }) => sum + capacity, 0),
      inFlight: views.reduce((sum, { inFlight }) => sum + inFlight, 0),
      sellers: views,
    };
  }

  async #books(authorities: readonly Address[], name: string): Promise<BusMessageOf<"book">[]> {
    const listings = await this.#ask(authorities, "listings", name) as BusMessageOf<"listings">[];
    const exchanges = new Set(
      listings.flatMap((listing) => listing.exchanges.map(({ exchange }) => exchange)),
    );
    return await this.#ask([...exchanges], "book", name) as BusMessageOf<"book">[];
  }

  async #meshes(): Promise<BusMessageOf<"mesh">[]> {
    return await this.#ask(await this.#authorities(), "mesh", "") as BusMessageOf<"mesh">[];
  }

  /** The authorities that the broker here knows; waits up to 2 s for the first. */
  async #authorities(): Promise<Address[]> {
    for (let polls = 0;; polls++) {
      const answers = await this.#ask([addressOf("", BROKER)], "mesh", "") as BusMessageOf<
        "mesh"
      >[];
      const peers = answers.flatMap(({ authorities }) => authorities);
      if (peers.length > 0 || polls === MAX_POLLS) {
        return peers.map((peer) => this.#at(peer, AUTHORITY));
      }
      await pause(this.#clock, POLL_MS);
    }
  }

  #at({ incarnation }: Peer, process: string): Address {
    return addressOf(incarnation === this.#bus.incarnation ? "" : incarnation, process);
  }

  #ask(asked: readonly Address[], what: Query, module: string): Promise<BusMessage[]> {
    return new Promise((resolve) => {
      this.#bus.spawn(
        `inquiry.${++this.#queries}`,
        new ScatterGather(asked, what, module, resolve),
      );
    });
  }
}

type NodeIdentity = Pick<Peer, "region" | "node" | "incarnation">;

function identityOf({ region, node, incarnation }: Peer): NodeIdentity {
  return { region, node, incarnation };
}

function byNode(a: NodeIdentity, b: NodeIdentity): number {
  const [one, other] = [nodeName(a), nodeName(b)];
  return one < other ? -1 : one > other ? 1 : 0;
}

/** How long answers are awaited, ms. */
const ANSWER_TIMEOUT_MS = 2_000;

export type Query = BusMessageOf<"ask">["what"];
type Answer = BusMessageOf<Query>;

export class ScatterGather extends Process {
  readonly #asked: Set<Address>;
  readonly #what: Query;
  readonly #module: string;
  readonly #done: (answers: BusMessage[]) => void;
  readonly #answers: BusMessage[] = [];
  #nonce = 0;

  /** @param done runs once, with the answers that came. */
  constructor(
    asked: readonly Address[],
    what: Query,
    module: string,
    done: (answers: BusMessage[]) => void,
  ) {
    super();
    this.#asked = new Set(asked);
    this.#what = what;
    this.#module = module;
    this.#done = done;
  }

  protected override started(): void {
    const nonce = this.#nonce = this.context.nextId();
    for (const process of this.#asked) {
      this.context.watch(process);
      this.context.send(process, { kind: "ask", nonce, what: this.#what, module: this.#module });
    }
    this.context.after(ANSWER_TIMEOUT_MS, () => this.#finish());
    if (this.#asked.size === 0) this.context.defer(() => this.#finish());
  }

  protected override stopped(): void {
    this.#done(this.#answers);
  }

  receive(message: BusMessage, from: Address): void {
    if (message.kind === this.#what && (message as Answer).nonce === this.#nonce) {
      if (this.#asked.has(from)) this.#answers.push(message);
      this.#asked.delete(from);
    } else if (message.kind === "down") {
      this.#asked.delete(message.address);
    }
    if (this.#asked.size === 0) this.#finish();
  }

  #finish(): void {
    this.context.stop(this.address, "all answers were collected");
  }
}
