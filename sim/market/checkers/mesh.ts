/**
 * Rule: workers don't mesh. Messages between workers are only about channels or about finding an
 * authority.
 */
import type { MessageKind } from "../../../src/lambda/bus/messages.ts";
import type { MarketChecker } from "./checker.ts";

/** What only authorities, exchanges and their brokers have to say to each other. */
const OF_THE_MESH: readonly MessageKind[] = [
  "syn",
  "ack",
  "join",
  "interest",
  "not_interested",
  "order",
  "cancel",
  "match",
];

export const mesh: MarketChecker = {
  name: "mesh",
  watch({ plan, world }, report) {
    const isWorker = (process: string | undefined): boolean => {
      const index = Number(/^node-(\d+)#/.exec(process ?? "")?.[1]);
      return plan.market.roles[index] === "worker";
    };
    return {
      messageSent({ process, to, message: { kind } }) {
        if (!OF_THE_MESH.includes(kind) || !isWorker(process)) return;
        const [incarnation = ""] = to.split("/");
        const other = world().network.lives.get(incarnation);
        if (isWorker(other)) report(`worker ${process} sends ${kind} to worker ${other}`);
      },
    };
  },
};
