/**
 * Rule: a request is handled only by the ownership whose epoch it names. A forwarded request is
 * never answered by an earlier owner than its caller has seen.
 *
 * Reads the messages between nodes. Source: docs/design.md, Calls.
 */
import type { Message } from "../../src/model/envelope.ts";
import type { LiveChecker } from "./checker.ts";

interface Asked {
  readonly by: string;
  readonly key: string;
  readonly epoch: number;
  /** Whether it may be passed on: its epoch is then the highest that its caller has seen. */
  readonly relay: boolean;
}

export const addressee: LiveChecker = {
  name: "addressee",
  watch({ world }, report) {
    /** Requests that are not answered yet, by link and number; both ends count from the same. */
    const open = new Map<string, Asked[]>();
    const sent = (link: number, from: string, message: Message): void => {
      const call = `${link} ${message.id}`;
      if (message.kind === "request") {
        const { key, epoch, relay } = message;
        const asked = { by: from, key, epoch, relay };
        const others = open.get(call);
        if (others) others.push(asked);
        else open.set(call, [asked]);
        return;
      }
      if (message.kind !== "reply" && message.kind !== "failure") return;
      const calls = open.get(call) ?? [];
      const asked = calls.find(({ by }) => by !== from);
      if (!asked) return;
      open.set(call, calls.filter((it) => it !== asked));
      if (message.kind === "failure" || asked.epoch === 0) return;
      if (asked.epoch === message.epoch) return;
      // Sent on to who owns the key now, by one who owned it before or stands in between.
      if (message.passed && message.epoch > asked.epoch) return;
      if (asked.relay && asked.epoch < message.epoch) return;
      const { by, key, epoch } = asked;
      report(`${by} asked ${key} of epoch ${epoch}, and ${from} answered as ${message.epoch}`);
    };
    let isListening = false;
    return {
      process() {
        // The first one is there: so is the network.
        if (!isListening) world().network.listenIn(sent);
        isListening = true;
      },
    };
  },
};
