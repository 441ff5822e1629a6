/** Rule: no exchange holds more of an order than the order is about. */
import type { MarketChecker } from "./checker.ts";

export const books: MarketChecker = {
  name: "books",
  watch(_scene, report) {
    return {
      orderBooksRead(sim, books) {
        for (const { node, orders } of books) {
          for (const { side, id, quantity, held, incarnation } of orders) {
            if (held <= quantity) continue;
            report(
              `${sim.process.id} saw ${held} held of ${side} order ${id} of ${incarnation}, ` +
                `which is about ${quantity}, at an exchange on ${node}`,
            );
          }
        }
      },
    };
  },
};
