/**
 * Decodes the messages between nodes of a market for the checkers, and loses, repeats or delays
 * some of the messages about credit, which must have no effect.
 */
import { addressOf } from "../../src/lambda/bus/address.ts";
import { type BusMessage, readMessage } from "../../src/lambda/bus/messages.ts";
import type { Message } from "../../src/model/envelope.ts";
import type { FrameListener, LinkMessage, MessageFault } from "../engine/network.ts";
import type { SeededRandom } from "../engine/random.ts";
import type { World } from "../engine/world.ts";
import type { MarketShape } from "../plan/market_plan.ts";

/** A message on its way. */
export interface SentMessage {
  /** The node process that sent it; the sender's and the receiver's address. */
  readonly process: string;
  readonly from: string;
  readonly to: string;
  readonly link: number;
  readonly message: BusMessage;
}

/** Calls `onMessage` for every message that is sent between nodes. */
export function busListener(onMessage: (sent: SentMessage) => void): FrameListener {
  return (link, process, message, to, self) => {
    if (message.kind !== "process" || !self) return;
    onMessage({
      process,
      from: addressOf(self.incarnation, message.from),
      to: addressOf(to.incarnation, message.to),
      link,
      // Addresses are given in full.
      message: readMessage(message.content, message.body, ""),
    });
  };
}

/** Loses, repeats and delays messages about credit until healing. */
export function messageFaults(
  { lost, doubled, late }: MarketShape,
  random: SeededRandom,
  world: World,
): MessageFault | null {
  if (lost + doubled + late === 0) return null;
  /** Messages that are sent after the next one of the same sender and link. */
  const held = new Map<string, LinkMessage[]>();
  return (link, process, message, sent) => {
    const key = `${link} ${process}`;
    const after = held.get(key) ?? [];
    held.delete(key);
    if (world.isHealed || !isAboutCredit(message)) return [sent, ...after];
    if (random.chance(lost)) return after;
    if (random.chance(late)) {
      held.set(key, [sent]);
      return after;
    }
    return random.chance(doubled) ? [sent, ...after, sent] : [sent, ...after];
  };
}

function isAboutCredit(message: Message): boolean {
  if (message.kind !== "process") return false;
  const { kind } = readMessage(message.content, message.body, "");
  return kind === "credit" || kind === "probe";
}
