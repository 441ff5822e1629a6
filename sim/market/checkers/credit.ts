/**
 * Rule: a buyer never believes that it may send more than its seller issued, never sends more than
 * that, and the seller never accepted more than was sent.
 */
import type { ListenerChannelStats, PlbChannelStats } from "../../../src/api/modules.ts";
import type { MarketChecker } from "./checker.ts";

/** The last word of each end. */
interface Ends {
  seller: ListenerChannelStats | null;
  buyer: PlbChannelStats | null;
}

export const credit: MarketChecker = {
  name: "credit",
  watch({ world }, report) {
    /** By process and name of the channel. */
    const channels = new Map<string, Ends>();
    /** Those of which each process is the buyer. */
    const held = new Map<string, Ends[]>();
    const endsOf = (process: string, channel: string): Ends => {
      const key = `${process}/${channel}`;
      let ends = channels.get(key);
      if (!ends) channels.set(key, ends = { seller: null, buyer: null });
      return ends;
    };
    const compare = (name: string, { seller, buyer }: Ends): void => {
      if (buyer && buyer.used > buyer.allowed) {
        report(`${name}: ${buyer.used} sent, of ${buyer.allowed} allowed`);
      }
      if (!seller || !buyer) return;
      if (buyer.allowed > seller.issued) {
        report(`${name}: ${buyer.allowed} allowed, of ${seller.issued} issued`);
      }
      if (seller.used > buyer.used) {
        report(`${name}: ${seller.used} taken, of ${buyer.used} sent`);
      }
    };
    return {
      sampled({ sim, listeners: shops, buyers }) {
        const { id } = sim.process;
        const changed = new Map<Ends, string>();
        // What a buyer has given up, it tells no more of.
        for (const ends of held.get(id) ?? []) ends.buyer = null;
        held.set(id, []);
        for (const seller of shops.flatMap(({ stats: books }) => books.channels)) {
          const ends = endsOf(id, seller.channel);
          ends.seller = seller;
          changed.set(ends, `${seller.channel} of ${id}`);
        }
        for (const buyer of buyers.flatMap((plb) => plb.channels)) {
          const process = world().network.lives.get(buyer.incarnation);
          if (process === undefined) continue;
          const ends = endsOf(process, buyer.channel);
          ends.buyer = buyer;
          held.get(id)?.push(ends);
          changed.set(ends, `${buyer.channel} of ${process}`);
        }
        for (const [ends, name] of changed) compare(name, ends);
      },
    };
  },
};
