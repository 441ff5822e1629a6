/**
 * The observatory: how those who don't trade see the market.
 *
 * Takes questions of users; sends inquiries to the broker here, the authorities, the
 * exchanges and the listeners, and gives one picture of their answers. What doesn't answer
 * within a while is not in it.
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

/** How often, and how many times, a node that knows no authority yet looks again. */
const LOOK_MS = 50;
const LOOKS = 40;

export class Introspection {
  readonly #post: MessageBus;
  readonly #clock: Clock;
  #questions = 0;

  constructor(post: MessageBus, clock: Clock) {
    this.#post = post;
    this.#clock = clock;
  }

  async authorities(): Promise<AuthorityView[]> {
    const views = (await this.#meshes()).map(({ contact, authorities, brokers, modules }) => ({
      ...placeOf(contact),
      authorities: authorities.length,
      brokers,
      modules,
    }));
    return views.sort(byPlace);
  }

  async exchange(name: string): Promise<ExchangeView[]> {
    const authorities = await this.#authorities();
    const books = await this.#books(authorities, name);
    return books.map(({ contact, orders }) => ({ ...placeOf(contact), orders })).sort(byPlace);
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
    const shops = await this.#ask(sellers, "shop", name) as BusMessageOf<"shop">[];
    const views: SellerView[] = shops.map(({ contact, label, capacity, granted, running }) => ({
      ...placeOf(contact),
      version: label.version,
      hash: label.hash,
      capacity,
      granted,
      inFlight: running,
    }));
    views.sort(byPlace);
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

  /** The authorities that the broker here knows; it may have only just begun. */
  async #authorities(): Promise<Address[]> {
    for (let look = 0;; look++) {
      const answers = await this.#ask([addressOf("", BROKER)], "mesh", "") as BusMessageOf<
        "mesh"
      >[];
      const peers = answers.flatMap(({ authorities }) => authorities);
      if (peers.length > 0 || look === LOOKS) return peers.map((peer) => this.#at(peer, AUTHORITY));
      await pause(this.#clock, LOOK_MS);
    }
  }

  #at({ incarnation }: Peer, part: string): Address {
    return addressOf(incarnation === this.#post.incarnation ? "" : incarnation, part);
  }

  #ask(asked: readonly Address[], what: Question, module: string): Promise<BusMessage[]> {
    return new Promise((resolve) => {
      this.#post.spawn(
        `inquiry.${++this.#questions}`,
        new ScatterGather(asked, what, module, resolve),
      );
    });
  }
}

type Place = Pick<Peer, "region" | "node" | "incarnation">;

function placeOf({ region, node, incarnation }: Peer): Place {
  return { region, node, incarnation };
}

function byPlace(a: Place, b: Place): number {
  const [one, other] = [nodeName(a), nodeName(b)];
  return one < other ? -1 : one > other ? 1 : 0;
}

/** How long answers are waited for, ms. */
const PATIENCE_MS = 2_000;

export type Question = BusMessageOf<"ask">["what"];
type Answer = BusMessageOf<Question>;

export class ScatterGather extends Process {
  readonly #asked: Set<Address>;
  readonly #what: Question;
  readonly #module: string;
  readonly #done: (answers: BusMessage[]) => void;
  readonly #answers: BusMessage[] = [];
  #nonce = 0;

  /** @param done runs once, with what came. */
  constructor(
    asked: readonly Address[],
    what: Question,
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
    for (const part of this.#asked) {
      this.context.watch(part);
      this.context.send(part, { kind: "ask", nonce, what: this.#what, module: this.#module });
    }
    this.context.after(PATIENCE_MS, () => this.#leave());
    if (this.#asked.size === 0) this.context.defer(() => this.#leave());
  }

  protected override stopped(): void {
    this.#done(this.#answers);
  }

  receive(letter: BusMessage, from: Address): void {
    if (letter.kind === this.#what && (letter as Answer).nonce === this.#nonce) {
      if (this.#asked.has(from)) this.#answers.push(letter);
      this.#asked.delete(from);
    } else if (letter.kind === "down") {
      this.#asked.delete(letter.address);
    }
    if (this.#asked.size === 0) this.#leave();
  }

  #leave(): void {
    this.context.stop(this.address, "the inquiry is over");
  }
}
