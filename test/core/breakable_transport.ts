/** A transport whose links a test can break, as a network does. */
import { AtlasError, type Link, type Transport } from "../../mod.ts";

/** A transport that can be broken. */
export interface Breakable extends Transport {
  /** Whether every dial is refused. */
  refusesDials: boolean;
  /** Whether messages that arrive are dropped. */
  dropsMessages: boolean;
  /** While it is a list, messages that arrive are added to it, and aren't delivered. */
  held: (() => void)[] | null;
  breakAll(): void;
}

/** Wraps `transport`; also gives a function that breaks all of its links. */
export function breakable(transport: Transport): Breakable {
  const links = new Set<Link>();
  const watched = (link: Link): Link => {
    links.add(link);
    return {
      peer: link.peer,
      send: (tuple, body) => link.send(tuple, body),
      close: (reason) => link.close(reason),
      start: ({ message, close }) =>
        link.start({
          message: (tuple, body) => {
            if (made.dropsMessages) return;
            if (made.held) made.held.push(() => message(tuple, body));
            else message(tuple, body);
          },
          close,
        }),
    };
  };
  const made: Breakable = {
    refusesDials: false,
    dropsMessages: false,
    held: null,
    get address() {
      return transport.address;
    },
    open: (self, accept) =>
      transport.open(self, (link) => {
        accept(watched(link));
      }),
    dial: async (peer) => {
      if (made.refusesDials) throw new AtlasError("unavailable", "refused by the test");
      return watched(await transport.dial(peer));
    },
    close: () => transport.close(),
    breakAll: () => {
      for (const link of links) link.close("broken by the test");
      links.clear();
    },
  };
  return made;
}
