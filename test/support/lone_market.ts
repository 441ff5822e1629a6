/** Parts of a market without nodes: a message bus that reaches no other node, and an order. */
import { systemRandom } from "../../adapters/system/clock.ts";
import { MessageBus } from "../../src/lambda/bus/message_bus.ts";
import type { Order } from "../../src/lambda/bus/order.ts";
import type { Clock } from "../../src/ports/clock.ts";

type BusParts = ConstructorParameters<typeof MessageBus>[0];

/** With a clock that stands still it never yields, and delivers messages at once. */
export function loneBus(clock: Clock, parts: Partial<BusParts> = {}): MessageBus {
  const self = parts.self ?? (() => ({ region: "r", node: "n", incarnation: "i", address: "a" }));
  return new MessageBus({
    clock,
    random: systemRandom,
    self,
    incarnation: () => self().incarnation,
    member: () => undefined,
    present: () => undefined,
    dial: () => Promise.reject(new Error("nobody")),
    meet: () => Promise.resolve(null),
    onEvent: () => {},
    ...parts,
  });
}

/** A buyer's first order of one call at a time. */
export const ORDER: Order = {
  id: 1,
  revision: 1,
  side: "buy",
  module: "calc",
  quantity: 1,
  nearby: 0,
  newer: 0,
  than: "",
  version: "",
  range: null,
  prefer: "near",
  regions: [],
  trader: "a/plb.1",
  contact: { region: "r", node: "n", incarnation: "a", address: "x" },
};
