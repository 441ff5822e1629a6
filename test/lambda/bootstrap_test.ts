/** How nodes that share no registry find each other's authorities. */
import { expect, test } from "vitest";
import { type Bootstrap, memoryStore, type NodeEvent } from "../../mod.ts";
import { Bootstrap as BootstrapPart, resolverOf } from "../../src/lambda/bootstrap.ts";
import { BOOTSTRAP_MS } from "../../src/limits.ts";
import { fakeClock } from "../../testing.ts";
import { calc, market, Shop, until } from "./market.ts";

const address = (host: string, port: number): string => `${host}:${port}`;

/** Ways to name the node `a`, whose address is `in-process:1`. */
const WAYS: [string, () => Bootstrap][] = [
  ["a list of addresses", () => ({ static: ["in-process:99", "in-process:1"] })],
  ["a name that resolves to hosts", () => ({
    dns: "authorities.test",
    port: 1,
    resolve: async (name) => name === "authorities.test" ? ["in-process"] : [],
    address,
  })],
  ["a function", () => async () => ["in-process:1"]],
];

for (const [way, bootstrap] of WAYS) {
  test(`authorities mesh and brokers find them by ${way}`, async () => {
    const made = market();
    const a = await made.node("a", { role: "authority" });
    const apart = { bootstrap: bootstrap(), store: memoryStore() };
    const b = await made.node("b", { ...apart, role: "authority" });
    const c = await made.node("c", { ...apart, role: "worker" });
    expect(await b.members()).toHaveLength(2);
    const shop = new Shop();
    a.publish(calc(shop), { capacity: 1 });
    const proxy = await c.discover("calc");
    expect(await proxy.pi(1)).toBe("3.1");
    await until(async () => (await c.authorities()).length === 2, "all are found from one");
    expect((await a.authorities()).map(({ node }) => node)).toEqual(["a", "b"]);
  });
}

test("a worker sees sellers on other workers, whom no registry told it of", async () => {
  const made = market();
  await made.node("a", { role: "authority" });
  const apart = (): object => ({ bootstrap: { static: ["in-process:1"] }, store: memoryStore() });
  const [b, c] = [await made.node("b", apart()), await made.node("c", apart())];
  b.publish(calc(new Shop()), { capacity: 1 });
  c.publish(calc(new Shop()), { capacity: 2 });
  await until(async () => {
    const [seen] = await c.modules();
    return seen?.sellers.map(({ node }) => node).join() === "b,c";
  }, "both sellers are seen");
});

test("a function that fails, or names who isn't there, is asked again", async () => {
  const made = market();
  let asked = 0;
  const bootstrap = async () => {
    if (++asked === 1) throw new Error("not yet");
    return ["in-process:2"];
  };
  const a = await made.node("a", { bootstrap, role: "worker", store: memoryStore() });
  await made.node("b", { role: "authority" });
  await until(async () => (await a.authorities()).length === 1, "the authority was found");
  expect(made.events.some(({ event }) => event === "bootstrap failed")).toBe(true);
});

test("what a function or a resolver answers instead of a list is told in one clear line", async () => {
  const list = "it must be a list of addresses, or of { region, node, incarnation, address }";
  const peer = { region: "r", node: "n", incarnation: "i", address: "" };
  for (
    const [answer, message] of [
      [null, `bootstrap answered null, ${list}`],
      ["x", `bootstrap answered "x", ${list}`],
      [["in-process:1", 1], `bootstrap answered a list with 1 in it, ${list}`],
      [[{ ...peer, address: 5 }], `bootstrap answered a list with {"region":"r"`],
      [[""], `bootstrap answered a list with "" in it, ${list}`],
    ] as const
  ) {
    const resolve = async () => answer as never;
    const told = expect.objectContaining({
      code: "bad_request",
      message: expect.stringContaining(message),
    });
    await expect(resolverOf(resolve, () => [])()).rejects.toEqual(told);
    const named = resolverOf({ dns: "x.test", port: 1, resolve, address }, () => []);
    // Hosts are only texts.
    await expect(named()).rejects.toMatchObject({ code: "bad_request" });
    const made = market();
    await made.node("a", { bootstrap: resolve, role: "authority" });
    await until(() => made.events.some(({ event }) => event === "bootstrap failed"), "it is told");
    const { fields } = made.events.find(({ event }) => event === "bootstrap failed") as NodeEvent;
    expect(fields["why"]).toContain(message);
  }
  expect(await resolverOf(async () => ["x", peer], () => [])()).toEqual(["x", peer]);
});

test("who knew no authority is asked again soon, not only after the usual time", async () => {
  const clock = fakeClock();
  const contact = { region: "r", node: "here", incarnation: "here-1", address: "x://here" };
  const peer = { ...contact, node: "peer", incarnation: "peer-1", address: "x://peer" };
  const sent: string[] = [];
  const desk = {
    address: "/bootstrap",
    self: () => contact,
    now: () => clock.now(),
    chance: () => 0,
    send: (to: string, { kind }: { kind: string }) => void sent.push(`${kind} ${to}`),
    after: (ms: number, run: () => void) => clock.after(ms, run),
  };
  const seeks = (): number => sent.filter((line) => line.startsWith("seek")).length;
  const part = new BootstrapPart(async () => [peer.address], async () => peer.incarnation);
  part.begin(desk as never);
  await clock.advance(1);
  expect(seeks()).toBe(1);
  part.receive({ kind: "news", contact: peer, authorities: [], exchanges: [] });
  await clock.advance(3_000);
  expect(seeks()).toBeGreaterThan(2);
  part.receive({ kind: "news", contact: peer, authorities: [peer], exchanges: [] });
  await clock.advance(BOOTSTRAP_MS);
  const before = seeks();
  await clock.advance(BOOTSTRAP_MS);
  expect(seeks() - before).toBe(1);
});

test("roles and bootstraps that aren't allowed are refused", async () => {
  const made = market();
  await expect(made.node("a", { role: "king" as never })).rejects.toMatchObject({
    code: "bad_request",
    message: "role is king, it must be authority or worker",
  });
  for (const bootstrap of [{}, { static: [] }, { dns: "x", port: 0 }, "redis", null]) {
    await expect(made.node("a", { bootstrap: bootstrap as never })).rejects.toMatchObject({
      code: "bad_request",
      message: expect.stringContaining("bootstrap must be"),
    });
  }
});
