/**
 * The suite for transports. Takes a way to put transports on a common network; declares vitest
 * cases.
 */
import { afterEach, describe, expect, it } from "vitest";
import { MAX_FRAME_BYTES, MAX_LINK_BUFFER_BYTES } from "../../src/limits.ts";
import { type Body, decodeBody } from "../../src/model/body.ts";
import {
  ANYONE,
  type Link,
  type LinkHandlers,
  type LinkIdentity,
  type Peer,
  type Transport,
} from "../../src/ports/transport.ts";

/** A network under test. */
export interface TransportHarness {
  /** A transport that others made here can reach once it is open. */
  transport(): Promise<Transport>;
  close(): Promise<void>;
}

/** A message as a reader gets it, with a copy of its body. */
export interface Received {
  readonly tuple: unknown;
  readonly body: Body;
}

/** One end of a link and all that it received. */
export class LinkEnd {
  readonly link: Link;
  readonly received: Received[] = [];
  readonly closes: string[] = [];

  constructor(link: Link, start = true, handlers: Partial<LinkHandlers> = {}) {
    this.link = link;
    if (start) this.start(handlers);
  }

  start(handlers: Partial<LinkHandlers> = {}): void {
    this.link.start({
      ...handlers,
      message: (tuple, body) => void this.received.push({ tuple, body: body.slice() as Body }),
      close: (reason) => void this.closes.push(reason),
    });
  }
}

/** A node with no core: its transport and the links that peers opened. */
export class TransportNode {
  readonly transport: Transport;
  readonly accepted: LinkEnd[] = [];
  self: LinkIdentity;

  constructor(transport: Transport, node: string) {
    this.transport = transport;
    this.self = identity(node);
  }

  async open(startLinks = true): Promise<this> {
    await this.transport.open(
      this.self,
      (link) => void this.accepted.push(new LinkEnd(link, startLinks)),
    );
    return this;
  }

  get peer(): Peer {
    return { ...this.self, address: this.transport.address };
  }
}

export function identity(node: string): LinkIdentity {
  return { region: "here", node, incarnation: crypto.randomUUID() };
}

/** Declares the cases. */
export function transportSuite(name: string, make: () => Promise<TransportHarness>): void {
  describe(`transport: ${name}`, () => {
    const harnesses: TransportHarness[] = [];
    const transports: Transport[] = [];
    afterEach(async () => {
      await Promise.all(transports.splice(0).map((transport) => transport.close()));
      await Promise.all(harnesses.splice(0).map((harness) => harness.close()));
    });

    async function nodes(startLinks = true): Promise<[TransportNode, TransportNode]> {
      const harness = await make();
      harnesses.push(harness);
      const made: TransportNode[] = [];
      for (const node of ["ann", "bob"]) {
        const transport = await harness.transport();
        transports.push(transport);
        made.push(await new TransportNode(transport, node).open(startLinks));
      }
      return made as [TransportNode, TransportNode];
    }

    /** A link from ann to bob, both ends. */
    async function linked(): Promise<
      { ann: TransportNode; bob: TransportNode; near: LinkEnd; far: LinkEnd }
    > {
      const [ann, bob] = await nodes();
      const near = new LinkEnd(await ann.transport.dial(bob.peer));
      await expect.poll(() => bob.accepted.length).toBe(1);
      return { ann, bob, near, far: bob.accepted[0] as LinkEnd };
    }

    it("gives each end the other's identity", async () => {
      const { ann, bob, near, far } = await linked();
      expect(near.link.peer).toEqual(bob.self);
      expect(far.link.peer).toEqual(ann.self);
    });

    /** The first items of the tuples that an end has received. */
    function numbersOf({ received }: LinkEnd): unknown[] {
      return received.map(({ tuple }) => (tuple as unknown[])[0]);
    }

    it("carries messages whole, in order, in both directions, also empty ones", async () => {
      const { near, far } = await linked();
      const sizes = [5, 0, 1, 127, 128, 129, 16_383, 16_384, 70_000, 3, 2_000_000, 0, 9, 500_000];
      const texts = [9, 0, 3_000, 100_000, 1];
      for (const from of [near, far]) {
        sizes.forEach((size, i) => {
          expect(from.link.send([i], new Uint8Array(size).fill(i))).toBe(true);
          const text = JSON.stringify("π".repeat(texts[i % texts.length] as number));
          expect(from.link.send([i, "text"], text)).toBe(true);
        });
      }
      for (const to of [far, near]) {
        await expect.poll(() => to.received.length).toBe(2 * sizes.length);
        to.received.forEach(({ tuple, body }, n) => {
          const i = n >> 1;
          expect(tuple).toEqual(n % 2 === 0 ? [i] : [i, "text"]);
          if (n % 2 > 0) return expect(decodeBody(body)).toBe("π".repeat(texts[i % 5] as number));
          expect(body.length).toBe(sizes[i]);
          expect(typeof body === "string" || body.every((byte) => byte === i)).toBe(true);
        });
      }
    });

    it("carries tuples of every kind of item, and bodies of every kind of text", async () => {
      const { near, far } = await linked();
      const tuples = [
        [0, -1, 0.5, 2 ** 53, true, false, null, "", 'π\n"\\', [], [["a", [1]]]],
        [1, "\ud800\u2028\u0000"],
        [2, ["x".repeat(60_000)]],
      ];
      const bodies = ["", "null", '"\\ud800\\n"', '{"a":[1,2,{"b":"π😀"}]}', " 1 "];
      for (const tuple of tuples) for (const body of bodies) near.link.send(tuple, body);
      await expect.poll(() => far.received.length).toBe(tuples.length * bodies.length);
      const values = far.received.map(({ tuple, body }) => [tuple, decodeBody(body)]);
      const sent = tuples.flatMap((tuple) => bodies.map((body) => [tuple, decodeBody(body)]));
      expect(values).toEqual(sent);
    });

    it("delivers each of ten thousand messages of one tick once", async () => {
      const { near, far } = await linked();
      const message = new Uint8Array(4);
      for (let i = 0; i < 10_000; i++) {
        // All messages use one buffer: the transport must have copied what was sent.
        new DataView(message.buffer).setUint32(0, i);
        if (i % 3 === 0) near.link.send([i], message);
        else near.link.send([i], `[${i}]`);
      }
      await expect.poll(() => far.received.length).toBe(10_000);
      const numbers = far.received.map(({ body }) =>
        typeof body === "string" ? JSON.parse(body)[0] : new DataView(body.buffer).getUint32(0)
      );
      expect(numbers).toEqual([...Array(10_000).keys()]);
      expect(numbersOf(far)).toEqual(numbers);
    });

    it("keeps messages that come before the handlers are set", async () => {
      const [ann, bob] = await nodes(false);
      const near = new LinkEnd(await ann.transport.dial(bob.peer), false);
      await expect.poll(() => bob.accepted.length).toBe(1);
      const far = bob.accepted[0] as LinkEnd;
      near.link.send([1], "");
      far.link.send([2], Uint8Array.of(1));
      await new Promise((resolve) => setTimeout(resolve, 5));
      near.link.send([3], "");
      far.start();
      near.start();
      await expect.poll(() => numbersOf(far)).toEqual([1, 3]);
      await expect.poll(() => numbersOf(near)).toEqual([2]);
    });

    it("refuses a message that is larger than a frame, and stays open", async () => {
      const { near, far } = await linked();
      expect(() => near.link.send([1], new Uint8Array(MAX_FRAME_BYTES + 1))).toThrow(
        expect.objectContaining({ code: "payload_too_large" }),
      );
      near.link.send([1], new Uint8Array(MAX_FRAME_BYTES - 1_024));
      await expect.poll(() => far.received.length).toBe(1);
    });

    it("refuses to queue without limit, and accepts messages again once the queue was sent", async () => {
      const { near, far } = await linked();
      const message = new Uint8Array(1_048_576);
      let taken = 0;
      while (near.link.send([0], message)) taken++;
      expect(taken * message.length).toBeGreaterThanOrEqual(MAX_LINK_BUFFER_BYTES);
      expect(taken * message.length).toBeLessThan(4 * MAX_LINK_BUFFER_BYTES);
      await expect.poll(() => far.received.length).toBe(taken);
      await expect.poll(() => near.link.send([7], "")).toBe(true);
      await expect.poll(() => numbersOf(far).at(-1)).toBe(7);
    });

    it("closes both ends once, and delivers nothing afterwards", async () => {
      const { near, far } = await linked();
      near.link.send([1], "");
      near.link.close("enough");
      near.link.close("again");
      expect(near.closes).toEqual([]);
      await expect.poll(() => [near.closes, far.closes]).toEqual([["enough"], ["enough"]]);
      expect(near.link.send([2], "")).toBe(false);
      expect(far.link.send([2], "")).toBe(false);
      far.link.close("late");
      expect(near.received).toEqual([]);
      expect(far.received.length).toBeLessThanOrEqual(1);
      expect([near.closes.length, far.closes.length]).toEqual([1, 1]);
    });

    it("reports a close that came before the handlers were set", async () => {
      const [ann, bob] = await nodes(false);
      const near = new LinkEnd(await ann.transport.dial(bob.peer), false);
      await expect.poll(() => bob.accepted.length).toBe(1);
      bob.accepted[0]?.link.close("never mind");
      await expect.poll(() => near.link.send([1], "")).toBe(false);
      near.start();
      await expect.poll(() => near.closes).toEqual(["never mind"]);
    });

    it("a link whose handler throws affects no other", async () => {
      const [ann, bob] = await nodes(false);
      const near = new LinkEnd(await ann.transport.dial(bob.peer));
      await expect.poll(() => bob.accepted.length).toBe(1);
      const closes: string[] = [];
      bob.accepted[0]?.link.start({
        message: () => {
          throw new Error("a bug");
        },
        close: (reason) => void closes.push(reason),
      });
      near.link.send([1], "");
      await expect.poll(() => [closes.length, near.closes.length]).toEqual([1, 1]);
      expect(closes[0]).toContain("a bug");
      expect((await ann.transport.dial(bob.peer)).peer).toEqual(bob.self);
    });

    it("does not resolve a dial to another incarnation, node or region", async () => {
      const [ann, bob] = await nodes();
      const others: Partial<Peer>[] = [
        { incarnation: crypto.randomUUID() },
        { node: "bib" },
        { region: "there" },
      ];
      for (const other of others) {
        const incarnation = other.incarnation ?? bob.self.incarnation;
        await expect(ann.transport.dial({ ...bob.peer, ...other, incarnation })).rejects
          .toMatchObject({ code: "unavailable" });
      }
      expect(bob.accepted).toEqual([]);
    });

    it("dials any node at an address, and gives its identity", async () => {
      const [a, b] = await nodes();
      const anyone = { region: ANYONE, node: ANYONE, incarnation: ANYONE };
      const link = await a.transport.dial({ ...anyone, address: b.transport.address });
      expect(link.peer).toEqual(b.self);
      link.close("seen");
    });

    it("rejects a dial if the peer no longer answers", async () => {
      const [ann, bob] = await nodes();
      await bob.transport.close();
      await expect(ann.transport.dial(bob.peer)).rejects.toMatchObject({ code: "unavailable" });
    });

    it("starts a new incarnation without the links of the former one", async () => {
      const { ann, bob, near, far } = await linked();
      const former = bob.peer;
      bob.self = identity("bob");
      await bob.open();
      await expect.poll(() => [near.closes.length, far.closes.length]).toEqual([1, 1]);
      await expect(ann.transport.dial(former)).rejects.toMatchObject({ code: "unavailable" });
      const again = await ann.transport.dial(bob.peer);
      expect(again.peer).toEqual(bob.self);
    });

    it("closes all links with the transport, and stays closed", async () => {
      const { ann, bob, near, far } = await linked();
      await bob.transport.close();
      await bob.transport.close();
      await expect.poll(() => [near.closes.length, far.closes.length]).toEqual([1, 1]);
      await expect(bob.transport.dial(ann.peer)).rejects.toMatchObject({ code: "unavailable" });
      await expect(bob.open()).rejects.toMatchObject({ code: "unavailable" });
    });

    it("dials nothing before it is open", async () => {
      const harness = await make();
      harnesses.push(harness);
      const transport = await harness.transport();
      transports.push(transport);
      await expect(transport.dial({ ...identity("x"), address: transport.address })).rejects
        .toMatchObject({ code: "unavailable" });
    });
  });
}
