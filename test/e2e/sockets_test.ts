/**
 * Client sockets over regions: clients at near and far nodes, one of them behind a gateway, get
 * every event once and in order, also when the owner's node is killed.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { connect, type SocketEvent } from "../../adapters/client/client.ts";
import type { ChannelMessage } from "../../examples/channels/app.ts";
import { history, result } from "./calls.ts";
import { endAll } from "./process.ts";
import { AP, EU, regionsMissing, ThreeRegions, US } from "./regions.ts";
import { unless } from "../support/unless.ts";
import { until } from "../support/until.ts";

const ID = `${EU}~listened`;
const CHANNEL = `channels/${ID}`;
/** How long one step may take, in ms: longer than a takeover and than any stall of the machine. */
const PATIENCE_MS = 60_000;

const world = new ThreeRegions();

/** A client that records its events. */
class Listener {
  readonly events: SocketEvent<ChannelMessage>[] = [];
  hellos = 0;
  readonly name: string;
  readonly #socket: { close(): void };

  constructor(name: string, urls: readonly string[]) {
    this.name = name;
    this.#socket = connect(urls).connect<ChannelMessage>("channels", ID, {
      onEvent: (event) => this.events.push(event),
      onHello: () => this.hellos++,
    });
  }

  /** The errors in its events; empty if there are none. */
  get troubles(): string[] {
    const troubles: string[] = [];
    for (let i = 1; i < this.events.length; i++) {
      const [before, event] = this.events.slice(i - 1) as [
        SocketEvent<ChannelMessage>,
        SocketEvent<ChannelMessage>,
      ];
      const steps = [event.seq - before.seq, event.data.seq - before.data.seq] as const;
      if (steps.some((step) => step < 1)) troubles.push(`${event.seq} after ${before.seq}`);
      if (!event.gap && steps.some((step) => step > 1)) {
        troubles.push(`${event.seq} after ${before.seq} without a gap`);
      }
      if (event.epoch < before.epoch) troubles.push(`epoch ${event.epoch} after ${before.epoch}`);
    }
    return troubles.map((trouble) => `${this.name}: ${trouble}`);
  }

  close(): void {
    this.#socket.close();
  }
}

describe("client sockets over regions", unless(regionsMissing), () => {
  beforeAll(() => world.open(), 120_000);
  afterAll(async () => {
    await endAll();
    await world.close();
  }, 60_000);

  test(
    "clients behind a gateway get all events, also when the owner's node is killed",
    async () => {
      const [far, owner, heir] = [world.node(US, 0), world.node(EU, 0), world.node(EU, 1)];
      await result(owner.url, CHANNEL, "send", ["ann", "first"]);
      // There is no direct route from us to the owner any more.
      for (const [from, to] of [[US, EU], [EU, US]] as const) {
        world.set(from, to, "n0", "closed");
        world.set(from, to, "gateway n0", "closed");
      }
      const listeners = [
        new Listener("behind a gateway", [far.url]),
        new Listener("over a straight route", [world.node(AP, 0).url]),
        new Listener("at another node of the region", [heir.url]),
        new Listener("at the owner", [owner.url, heir.url]),
      ];
      const areJoined = () => listeners.every(({ hellos }) => hellos > 0);
      await until(areJoined, "all are joined", PATIENCE_MS);

      let sent = 1;
      const send = async (url: string): Promise<void> => {
        const key = crypto.randomUUID();
        await result(url, CHANNEL, "send", ["ann", `${++sent}`], {
          key,
          timeoutMs: PATIENCE_MS,
          patienceMs: 2 * PATIENCE_MS,
        });
      };
      for (let i = 0; i < 20; i++) await send(i % 2 ? heir.url : far.url);
      const haveAll = () => listeners.every(({ events }) => events.length === 20);
      await until(haveAll, "all have all", PATIENCE_MS);
      for (const { events } of listeners) expect(events.every(({ gap }) => !gap)).toBe(true);

      owner.program.signal("SIGKILL");
      await owner.program.ended;
      for (let i = 0; i < 20; i++) await send(i % 2 ? heir.url : far.url);
      const last = (await history(heir.url, ID)).length;
      await until(
        () => listeners.every(({ events }) => events.at(-1)?.data.seq === last),
        "all hear the last",
        PATIENCE_MS,
      );
      expect(listeners.flatMap(({ troubles }) => troubles)).toEqual([]);
      for (const { events, hellos } of listeners) {
        expect(hellos).toBeGreaterThan(1);
        expect(events.filter(({ gap }) => gap).length).toBeLessThanOrEqual(hellos);
      }
      for (const listener of listeners) listener.close();
    },
    300_000,
  );
});
