/** A buyer that is sent to sellers who have nothing, on a clock that a test winds. */
import { expect, test } from "vitest";
import { systemRandom } from "../../adapters/runtime/system.ts";
import { BROKER } from "../../src/lambda/address.ts";
import type { Letter } from "../../src/lambda/letters.ts";
import { newMeter } from "../../src/lambda/meter.ts";
import type { Order } from "../../src/lambda/order.ts";
import { Part } from "../../src/lambda/part.ts";
import { PlbPart } from "../../src/lambda/plb.ts";
import { Post } from "../../src/lambda/post.ts";
import type { Clock } from "../../src/ports/clock.ts";
import { Deadlines } from "../../src/time/deadlines.ts";

const SELF = { region: "r", node: "n", incarnation: "i", address: "a" };

/** A clock that stands still until all that is due later is done at once. */
function wound(): { clock: Clock; wind: () => void } {
  let due = new Set<() => void>();
  const clock: Clock = {
    now: () => 1,
    wall: () => 1,
    after(_ms, run) {
      due.add(run);
      return { cancel: () => void due.delete(run) };
    },
  };
  const wind = (): void => {
    const runs = due;
    due = new Set();
    for (const run of runs) run();
  };
  return { clock, wind };
}

/** Says of every order that these sellers have it, one each and the rest with the first. */
class Finder extends Part {
  readonly orders: Order[] = [];
  readonly #sellers: readonly Part[];

  constructor(sellers: readonly Part[]) {
    super();
    this.#sellers = sellers;
  }

  receive(letter: Letter): void {
    if (letter.kind !== "order") return;
    const { order } = letter;
    this.orders.push(order);
    const { id, revision, quantity } = order;
    if (quantity < this.#sellers.length) return;
    const most = quantity - this.#sellers.length + 1;
    for (const [at, { address: seller }] of this.#sellers.entries()) {
      const found = { id, revision, seller, contact: SELF, quantity: at === 0 ? most : 1 };
      this.desk.send(order.trader, { kind: "match", ...found, version: "1.0.0" });
    }
  }
}

/** Has nothing free. */
class Pauper extends Part {
  receive(letter: Letter, from: string): void {
    if (letter.kind !== "open") return;
    this.desk.send(from, { kind: "refuse", nonce: letter.nonce, free: 0, why: "nothing is free" });
  }
}

test("what was refused is not ordered again before a pause", async () => {
  const { clock, wind } = wound();
  const post = new Post({
    clock,
    random: systemRandom,
    self: () => SELF,
    member: () => undefined,
    present: () => undefined,
    dial: () => Promise.reject(new Error("nobody")),
    meet: () => Promise.resolve(null),
    onEvent: () => {},
  });
  const sellers = [new Pauper(), new Pauper()];
  for (const [at, seller] of sellers.entries()) post.hire(`listener.${at}`, seller);
  const broker = new Finder(sellers);
  post.hire(BROKER, broker);
  const plb = new PlbPart({
    name: "m",
    wanted: 4,
    range: null,
    prefer: "spread",
    bias: "none",
    noWait: false,
    callTimeoutMs: 1_000,
    deadlines: new Deadlines(clock),
    meter: newMeter(),
    onChange: () => {},
    onClosed: () => {},
  });
  post.hire("plb", plb);
  const asked = async (): Promise<number[]> => {
    await new Promise((resolve) => setImmediate(resolve));
    return broker.orders.splice(0).map(({ quantity }) => quantity);
  };
  const first = await asked();
  expect(first[0]).toBe(4);
  expect(first.slice(1).every((quantity) => quantity === 0)).toBe(true);
  expect(await asked()).toEqual([]);
  wind();
  expect((await asked())[0]).toBe(4);
  expect(await asked()).toEqual([]);
  post.stop();
});
