/**
 * Covers src/links/gateways.ts: which gateway of another region is used, and what happens to one
 * that fails.
 */
import { describe, expect, it } from "vitest";
import { AtlasError, type NodeEvent } from "../../mod.ts";
import { GATEWAY_IDLE_MS, GATEWAY_PROBE_MS, GATEWAY_PROBE_TIMEOUT_MS } from "../../src/limits.ts";
import { Gateways } from "../../src/links/gateways.ts";
import type { Session, Waiter } from "../../src/links/links.ts";
import { fakeClock } from "../../testing.ts";

/** A remote gateway as a test wants it: its latency, and whether it is down or unresponsive. */
class RemoteGateway {
  dials = 0;
  pings = 0;
  isDown = false;
  isUnresponsive = false;
  latencyMs = 10;
  session: { acceptsRequests: boolean; isUnresponsive: boolean } | null = null;
}

function setUp(addresses: readonly string[], region = "eu") {
  const clock = fakeClock();
  const events: NodeEvent[] = [];
  const remotes = new Map(addresses.map((address) => [address, new RemoteGateway()]));
  const remote = (address: string) => remotes.get(address) as RemoteGateway;
  const dialAddress = async (address: string): Promise<Session> => {
    const end = remote(address);
    end.dials++;
    await new Promise<void>((resolve) => clock.after(end.latencyMs, resolve));
    if (end.isDown) throw new AtlasError("unavailable", `${address} is down`);
    const session = {
      peer: { region, node: address, incarnation: address },
      name: `${region}/${address}`,
      acceptsRequests: true,
      isUnresponsive: false,
      ping(waiter: Waiter): boolean {
        end.pings++;
        const answer = () => waiter.replied({} as never, session as never);
        if (!end.isUnresponsive) clock.after(end.latencyMs, answer);
        return true;
      },
    };
    end.session = session;
    return session as unknown as Session;
  };
  const gateways = new Gateways({
    gateways: { eu: addresses, us: ["own"] },
    region: "us",
    clock,
    random: { next: () => 0.5, uuid: () => "" } as never,
    dialAddress,
    onEvent: (event) => events.push(event),
  });
  return { clock, events, remote, gateways };
}

const nameOf = (session: Session | null) => session?.peer.node ?? null;

describe("the gateways of a region", () => {
  it("are all dialled at once the first time, and the first that answers is used", async () => {
    const { clock, remote, gateways } = setUp(["slow", "quick", "down"]);
    remote("slow").latencyMs = 100;
    remote("down").isDown = true;
    expect(gateways.ready("eu")).toBe(null);
    const opened = await clock.run(gateways.open("eu"));
    expect(nameOf(opened)).toBe("quick");
    await clock.advance(200);
    expect(nameOf(gateways.ready("eu"))).toBe("quick");
    expect([remote("slow").dials, remote("quick").dials, remote("down").dials]).toEqual([1, 1, 1]);
  });

  it("are replaced by a quicker one once it is clearly quicker", async () => {
    const { clock, remote, gateways } = setUp(["a", "b"]);
    await clock.run(gateways.open("eu"));
    await clock.advance(100);
    const first = nameOf(gateways.ready("eu")) as string;
    const other = first === "a" ? "b" : "a";
    remote(other).latencyMs = 9;
    await clock.advance(2 * GATEWAY_PROBE_MS);
    expect(nameOf(gateways.ready("eu"))).toBe(first);
    remote(first).latencyMs = 200;
    await clock.advance(4 * GATEWAY_PROBE_MS);
    expect(nameOf(gateways.ready("eu"))).toBe(other);
  });

  it("are not used while unresponsive, are probed with pauses, and are used again once they answer", async () => {
    const { clock, remote, gateways, events } = setUp(["only", "spare"]);
    remote("spare").latencyMs = 50;
    await clock.run(gateways.open("eu"));
    await clock.advance(100);
    remote("only").isUnresponsive = true;
    await clock.advance(GATEWAY_PROBE_MS + GATEWAY_PROBE_TIMEOUT_MS + 100);
    expect(nameOf(gateways.ready("eu"))).toBe("spare");
    expect(events.map(({ event }) => event)).toContain("gateway failed");
    const asked = remote("only").pings;
    for (let i = 0; i < 4; i++) {
      gateways.ready("eu");
      await clock.advance(GATEWAY_PROBE_MS);
    }
    expect(remote("only").pings).toBeGreaterThan(asked);
    remote("only").isUnresponsive = false;
    for (let i = 0; i < 8; i++) {
      gateways.ready("eu");
      await clock.advance(GATEWAY_PROBE_MS);
    }
    expect(nameOf(gateways.ready("eu"))).toBe("only");
  });

  it("are dialled again when their link is unresponsive, unless the link answers again first", async () => {
    const { clock, remote, gateways, events } = setUp(["a"]);
    const first = await clock.run(gateways.open("eu"));
    const old = first as unknown as { isUnresponsive: boolean };
    old.isUnresponsive = true;
    expect(gateways.ready("eu")).toBe(null);
    const fresh = await clock.run(gateways.open("eu"));
    expect(fresh).not.toBe(first);
    expect(remote("a").dials).toBe(2);

    const present = fresh as unknown as { isUnresponsive: boolean };
    present.isUnresponsive = true;
    Object.assign(remote("a"), { isDown: true, latencyMs: 1_000 });
    const opening = gateways.open("eu");
    await clock.advance(500);
    present.isUnresponsive = false;
    expect(await clock.run(opening)).toBe(fresh);
    expect(events.map(({ event }) => event)).not.toContain("gateway failed");
  });

  it("are probed at once when an unresponsive link to one of them answers again", async () => {
    const { clock, remote, gateways } = setUp(["a"]);
    const session = await clock.run(gateways.open("eu"));
    await clock.advance(100);
    remote("a").isUnresponsive = true;
    for (let i = 0; i < 8; i++) {
      gateways.ready("eu");
      await clock.advance(GATEWAY_PROBE_MS);
    }
    expect(gateways.ready("eu")).toBe(null);
    remote("a").isUnresponsive = false;
    gateways.responsive(session);
    await clock.advance(100);
    expect(gateways.ready("eu")).toBe(session);
  });

  it("are dialled again when their link is gone; while none works, each failure is reported", async () => {
    const { clock, remote, gateways } = setUp(["a"]);
    const first = await clock.run(gateways.open("eu"));
    (first as unknown as { acceptsRequests: boolean }).acceptsRequests = false;
    remote("a").isDown = true;
    expect(gateways.ready("eu")).toBe(null);
    await expect(clock.run(gateways.open("eu"))).rejects.toThrow(/a is down/);
    const dials = remote("a").dials;
    await expect(gateways.open("eu")).rejects.toThrow(/no gateway of region eu/);
    expect(remote("a").dials).toBe(dials);
    remote("a").isDown = false;
    await clock.advance(GATEWAY_PROBE_MS);
    expect(nameOf(gateways.ready("eu"))).toBe("a");
  });

  it("are no longer probed once they have not been used for a while", async () => {
    const { clock, remote, gateways } = setUp(["a"]);
    await clock.run(gateways.open("eu"));
    await clock.advance(GATEWAY_IDLE_MS + 2 * GATEWAY_PROBE_MS);
    const { pings } = remote("a");
    await clock.advance(GATEWAY_IDLE_MS);
    expect(remote("a").pings).toBe(pings);
    expect(nameOf(gateways.ready("eu"))).toBe("a");
    await clock.advance(GATEWAY_PROBE_MS);
    expect(remote("a").pings).toBeGreaterThan(pings);
    gateways.close();
    expect(clock.pending).toBe(0);
  });

  it("don't exist for the node's own region or for a region without gateways", async () => {
    const { gateways } = setUp(["a"]);
    expect([gateways.has("us"), gateways.has("mars"), gateways.has("eu")]).toEqual(
      [false, false, true],
    );
    await expect(gateways.open("mars")).rejects.toThrow(/region mars has no gateways/);
  });
});
