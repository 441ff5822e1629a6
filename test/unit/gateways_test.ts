/** The gateways of another region: which is taken, and what becomes of one that fails. */
import { describe, expect, it } from "vitest";
import { AtlasError, type NodeEvent } from "../../mod.ts";
import { GATEWAY_IDLE_MS, GATEWAY_PROBE_MS, GATEWAY_PROBE_TIMEOUT_MS } from "../../src/limits.ts";
import { Gateways } from "../../src/links/gateways.ts";
import type { Session, Waiter } from "../../src/links/links.ts";
import { fakeClock } from "../../testing.ts";

/** A gateway's far end, as a test wants it: how long it takes, or that it says nothing. */
class Far {
  dials = 0;
  pings = 0;
  isDown = false;
  isUnresponsive = false;
  latencyMs = 10;
  session: { acceptsRequests: boolean; isUnresponsive: boolean } | null = null;
}

function world(addresses: readonly string[], region = "eu") {
  const clock = fakeClock();
  const events: NodeEvent[] = [];
  const fars = new Map(addresses.map((address) => [address, new Far()]));
  const far = (address: string) => fars.get(address) as Far;
  const meet = async (address: string): Promise<Session> => {
    const end = far(address);
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
    dialAddress: meet,
    onEvent: (event) => events.push(event),
  });
  return { clock, events, far, gateways };
}

const nameOf = (session: Session | null) => session?.peer.node ?? null;

describe("gateways", () => {
  it("all are dialled at once the first time, and the first that answers is taken", async () => {
    const { clock, far, gateways } = world(["slow", "quick", "down"]);
    far("slow").latencyMs = 100;
    far("down").isDown = true;
    expect(gateways.ready("eu")).toBe(null);
    const opened = await clock.run(gateways.open("eu"));
    expect(nameOf(opened)).toBe("quick");
    await clock.advance(200);
    expect(nameOf(gateways.ready("eu"))).toBe("quick");
    expect([far("slow").dials, far("quick").dials, far("down").dials]).toEqual([1, 1, 1]);
  });

  it("the quicker is taken once it is clearly quicker", async () => {
    const { clock, far, gateways } = world(["a", "b"]);
    await clock.run(gateways.open("eu"));
    await clock.advance(100);
    const first = nameOf(gateways.ready("eu")) as string;
    const other = first === "a" ? "b" : "a";
    far(other).latencyMs = 9;
    await clock.advance(2 * GATEWAY_PROBE_MS);
    expect(nameOf(gateways.ready("eu"))).toBe(first);
    far(first).latencyMs = 200;
    await clock.advance(4 * GATEWAY_PROBE_MS);
    expect(nameOf(gateways.ready("eu"))).toBe(other);
  });

  it("one that falls silent is left, asked again with pauses, and taken again once it speaks", async () => {
    const { clock, far, gateways, events } = world(["only", "spare"]);
    far("spare").latencyMs = 50;
    await clock.run(gateways.open("eu"));
    await clock.advance(100);
    far("only").isUnresponsive = true;
    await clock.advance(GATEWAY_PROBE_MS + GATEWAY_PROBE_TIMEOUT_MS + 100);
    expect(nameOf(gateways.ready("eu"))).toBe("spare");
    expect(events.map(({ event }) => event)).toContain("gateway failed");
    const asked = far("only").pings;
    for (let i = 0; i < 4; i++) {
      gateways.ready("eu");
      await clock.advance(GATEWAY_PROBE_MS);
    }
    expect(far("only").pings).toBeGreaterThan(asked);
    far("only").isUnresponsive = false;
    for (let i = 0; i < 8; i++) {
      gateways.ready("eu");
      await clock.advance(GATEWAY_PROBE_MS);
    }
    expect(nameOf(gateways.ready("eu"))).toBe("only");
  });

  it("one over whose link nothing comes is dialled anew; it needn't be where that speaks again", async () => {
    const { clock, far, gateways, events } = world(["a"]);
    const first = await clock.run(gateways.open("eu"));
    const old = first as unknown as { isUnresponsive: boolean };
    old.isUnresponsive = true;
    expect(gateways.ready("eu")).toBe(null);
    const fresh = await clock.run(gateways.open("eu"));
    expect(fresh).not.toBe(first);
    expect(far("a").dials).toBe(2);

    const present = fresh as unknown as { isUnresponsive: boolean };
    present.isUnresponsive = true;
    Object.assign(far("a"), { isDown: true, latencyMs: 1_000 });
    const opening = gateways.open("eu");
    await clock.advance(500);
    present.isUnresponsive = false;
    expect(await clock.run(opening)).toBe(fresh);
    expect(events.map(({ event }) => event)).not.toContain("gateway failed");
  });

  it("one that failed by its silence is asked at once when its link speaks again", async () => {
    const { clock, far, gateways } = world(["a"]);
    const session = await clock.run(gateways.open("eu"));
    await clock.advance(100);
    far("a").isUnresponsive = true;
    for (let i = 0; i < 8; i++) {
      gateways.ready("eu");
      await clock.advance(GATEWAY_PROBE_MS);
    }
    expect(gateways.ready("eu")).toBe(null);
    far("a").isUnresponsive = false;
    gateways.responsive(session);
    await clock.advance(100);
    expect(gateways.ready("eu")).toBe(session);
  });

  it("one whose link is gone is dialled again; while none works, each failure is told", async () => {
    const { clock, far, gateways } = world(["a"]);
    const first = await clock.run(gateways.open("eu"));
    (first as unknown as { acceptsRequests: boolean }).acceptsRequests = false;
    far("a").isDown = true;
    expect(gateways.ready("eu")).toBe(null);
    await expect(clock.run(gateways.open("eu"))).rejects.toThrow(/a is down/);
    const dials = far("a").dials;
    await expect(gateways.open("eu")).rejects.toThrow(/no gateway of region eu/);
    expect(far("a").dials).toBe(dials);
    far("a").isDown = false;
    await clock.advance(GATEWAY_PROBE_MS);
    expect(nameOf(gateways.ready("eu"))).toBe("a");
  });

  it("are asked for nothing any more once they have not been used for a while", async () => {
    const { clock, far, gateways } = world(["a"]);
    await clock.run(gateways.open("eu"));
    await clock.advance(GATEWAY_IDLE_MS + 2 * GATEWAY_PROBE_MS);
    const { pings } = far("a");
    await clock.advance(GATEWAY_IDLE_MS);
    expect(far("a").pings).toBe(pings);
    expect(nameOf(gateways.ready("eu"))).toBe("a");
    await clock.advance(GATEWAY_PROBE_MS);
    expect(far("a").pings).toBeGreaterThan(pings);
    gateways.close();
    expect(clock.pending).toBe(0);
  });

  it("of the own region or of none are not there", async () => {
    const { gateways } = world(["a"]);
    expect([gateways.has("us"), gateways.has("mars"), gateways.has("eu")]).toEqual(
      [false, false, true],
    );
    await expect(gateways.open("mars")).rejects.toThrow(/region mars has no gateways/);
  });
});
