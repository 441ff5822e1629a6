/** Which requests a served node accepts, by Origin and by Host, and which node links. */
import { mkdtempSync, rmSync } from "node:fs";
import { connect as dialTcp } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { connect } from "../../adapters/client/client.ts";
import { serve, type ServedNode, type ServeOptions } from "../../adapters/server/serve.ts";
import { type App, defineApp, type NodeEvent, Resource } from "../../mod.ts";
import { freePort } from "../support/ports.ts";

const ran: string[] = [];
class Room extends Resource {
  say(text: string): string {
    ran.push(text);
    return text;
  }
}
const app: App<{ rooms: typeof Room }> = defineApp({ resources: { rooms: Room } });

const EVIL = "origin: https://evil.example";
const PAGE = "origin: https://app.example";
const SECRET = "0123456789abcdef0123456789abcdef";
const CALL = "/v1/resources/rooms/lobby/say";
const SOCKET = "/v1/connect/rooms/lobby";
const LINK = "/atlas/link";

type Served = ServedNode<typeof app> & { readonly events: readonly NodeEvent[] };

const nodes: ServedNode<typeof app>[] = [];
const folders: string[] = [];
afterEach(async () => {
  ran.length = 0;
  await Promise.all(nodes.splice(0).map((node) => node.close({ drainMs: 0 })));
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

async function open(options: ServeOptions = {}): Promise<Served> {
  const events: NodeEvent[] = [];
  const onEvent = (event: NodeEvent) => void events.push(event);
  const node = await serve(app, { registry: "memory:", port: 0, onEvent, ...options });
  nodes.push(node);
  return Object.assign(node, { events });
}

interface Answer {
  readonly status: number;
  readonly head: string;
  readonly body: string;
}

/** The answer to this request head, to which `Host` is added if `lines` have none. */
function send(
  { url }: { url: string },
  first: string,
  lines: string[],
  body = "",
): Promise<Answer> {
  const { host, port } = new URL(url);
  const named = lines.some((line) => /^host:/i.test(line)) ? lines : [`host: ${host}`, ...lines];
  return new Promise((resolve, reject) => {
    let text = "";
    const socket = dialTcp(Number(port), "127.0.0.1", () => {
      socket.write([`${first} HTTP/1.1`, ...named, "", body].join("\r\n"));
    });
    socket.on("error", reject);
    socket.setTimeout(5_000, () => socket.destroy());
    socket.on("data", (data) => {
      text += data;
      // An opened socket stays open, and so may the connection of a refused one.
      if (/^HTTP\/1.1 101 [^]*\r\n\r\n|\r\n\r\n[^]*\}\}$/.test(text)) socket.destroy();
    });
    socket.on("close", () => {
      const [head = "", ...rest] = text.split("\r\n\r\n");
      const status = Number(/^HTTP\/1.1 (\d+)/.exec(head)?.[1] ?? 0);
      resolve({ status, head, body: rest.join("\r\n\r\n") });
    });
  });
}

const post = (node: { url: string }, lines: string[], path = CALL, body = '["hi"]') =>
  send(
    node,
    `POST ${path}`,
    ["connection: close", "content-type: text/plain", `content-length: ${body.length}`, ...lines],
    body,
  );

const upgrade = (node: { url: string }, path: string, lines: string[]) =>
  send(node, `GET ${path}`, [
    "connection: Upgrade",
    "upgrade: websocket",
    "sec-websocket-version: 13",
    "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
    ...lines,
  ]);

function expectForbidden(answer: Answer, ...texts: string[]): void {
  expect(answer.status).toBe(403);
  expect(answer.body).toContain('"error":{"code":"forbidden"');
  expect(answer.head.toLowerCase()).toContain("cache-control: no-store");
  expect(answer.head.toLowerCase()).not.toContain("access-control-allow-origin");
  for (const text of texts) expect(answer.body).toContain(text);
}

test.each([{}, { token: "t0ken" }, { secret: SECRET }, { origins: ["https://app.example"] }])(
  "%j: a page of another origin can't call, drain, or open a socket or link",
  async (options) => {
    const node = await open(options);
    for (const origin of [EVIL, "origin: null"]) {
      for (
        const answer of [
          await post(node, [origin]),
          await post(node, [origin, "cookie: a=b"]),
          await post(node, [origin], "/v1/drain", ""),
          await post(node, [origin], "/v1/resources/rooms/lobby?move=elsewhere", ""),
          await send(node, "GET /v1/nodes", ["connection: close", origin]),
          await send(node, `OPTIONS ${CALL}`, [
            "connection: close",
            origin,
            "access-control-request-method: POST",
            "access-control-request-headers: authorization",
          ]),
          await upgrade(node, SOCKET, [origin]),
          await upgrade(node, LINK, [origin]),
        ]
      ) expectForbidden(answer, "header Origin is ", "ATLAS_ORIGINS");
    }
    expect(ran).toEqual([]);
    expect(node.state).toBe("serving");
    expect(node.stats()).toMatchObject({ sockets: 0, links: 0 });
    const metrics = await (await fetch(`${node.url}/metrics`)).text();
    expect(metrics).toMatch(/status="403"/);
  },
);

test("a listed page calls and connects, and so does the node's own", async () => {
  const node = await open({ origins: ["https://app.example"] });
  for (const origin of [PAGE, `origin: ${node.url}`]) {
    expect(await post(node, [origin])).toMatchObject({ status: 200 });
    expect(await upgrade(node, SOCKET, [origin])).toMatchObject({ status: 101 });
  }
  const asked = ["connection: close", PAGE, "access-control-request-method: POST"];
  const preflight = await send(node, `OPTIONS ${CALL}`, asked);
  expect(preflight.status).toBe(204);
  expect(preflight.head.toLowerCase())
    .toContain("access-control-allow-origin: https://app.example");
});

test("behind a proxy the public URL is the node's own origin", async () => {
  const port = await freePort();
  await open({ port, publicUrl: "https://atlas.example/a", token: "t0ken" });
  const node = { url: `http://127.0.0.1:${port}` };
  expect(await post(node, ["origin: https://atlas.example"])).toMatchObject({ status: 401 });
  expectForbidden(await post(node, ["origin: http://atlas.example"]), "header Origin");
});

test("a request with a token may come from any page", async () => {
  const node = await open({ token: "t0ken" });
  expect(await post(node, [EVIL, "authorization: Bearer t0ken"])).toMatchObject({ status: 200 });
  expect(await post(node, [EVIL, "authorization: Bearer wrong"])).toMatchObject({ status: 401 });
  const offer = (
    token: string,
  ) => [EVIL, `sec-websocket-protocol: atlas.json, atlas.token.${token}`];
  expect(await upgrade(node, SOCKET, offer("t0ken"))).toMatchObject({ status: 101 });
  expect(await upgrade(node, SOCKET, offer("wrong"))).toMatchObject({ status: 401 });
  const tokenless = await open();
  expectForbidden(await upgrade(tokenless, SOCKET, offer("t0ken")), "header Origin");
  expectForbidden(await upgrade(tokenless, LINK, offer("t0ken")), "header Origin");
});

test("a foreign host name reaches only the probes of a node without a token", async () => {
  const node = await open();
  const { port } = new URL(node.url);
  const rebound = [`host: evil.example:${port}`, `origin: http://evil.example:${port}`];
  for (const lines of [rebound, rebound.slice(0, 1)]) {
    expectForbidden(await post(node, lines), "header Host is ", "ATLAS_TOKEN", "ATLAS_PUBLIC_URL");
    for (const path of ["/v1/nodes", "/metrics", "/"]) {
      expectForbidden(await send(node, `GET ${path}`, ["connection: close", ...lines]));
    }
    for (const path of [SOCKET, LINK]) expectForbidden(await upgrade(node, path, lines));
    for (const path of ["/healthz", "/readyz"]) {
      expect(await send(node, `GET ${path}`, ["connection: close", ...lines]))
        .toMatchObject({ status: 200 });
    }
  }
  for (const path of [SOCKET, LINK]) {
    const none = await upgrade(node, path, ["host: a%zz"]);
    expect(none.status).toBe(400);
    expect(none.body).toContain("bad_request");
  }
  expect(ran).toEqual([]);
  for (const host of [`localhost:${port}`, "LOCALHOST", `[::1]:${port}`]) {
    expect(await post(node, [`host: ${host}`])).toMatchObject({ status: 200 });
  }
});

test("with a token, or for links with a secret, any host name is accepted", async () => {
  const foreign = "host: elsewhere.example";
  const guarded = await open({ token: "t0ken" });
  expect(await post(guarded, [foreign])).toMatchObject({ status: 401 });
  expect(await post(guarded, [foreign, "authorization: Bearer t0ken"]))
    .toMatchObject({ status: 200 });
  const secured = await open({ secret: SECRET });
  expect(await upgrade(secured, LINK, [foreign])).toMatchObject({ status: 101 });
  expectForbidden(await upgrade(secured, SOCKET, [foreign]), "header Host");
});

test("with a token and no secret links are refused before the upgrade, and one warning is logged", async () => {
  const node = await open({ token: "t0ken" });
  for (const lines of [[], ["authorization: Bearer t0ken"]]) {
    expectForbidden(await upgrade(node, LINK, lines), "ATLAS_TOKEN", "ATLAS_SECRET");
  }
  const warnings = node.events.filter(({ level }) => level === "warning");
  expect(warnings).toHaveLength(1);
  expect(JSON.stringify(warnings)).toMatch(/links are refused.*ATLAS_TOKEN.*ATLAS_SECRET/);
  const both = await open({ token: "t0ken", secret: SECRET });
  expect(await upgrade(both, LINK, [])).toMatchObject({ status: 101 });
  expect(both.events.filter(({ level }) => level === "warning")).toEqual([]);
});

test("with a token and no secret a call to another node fails at once, and its error gives the reason", async () => {
  const folder = mkdtempSync(join(tmpdir(), "atlas-access-"));
  folders.push(folder);
  const registry = `file:${join(folder, "registry.db")}`;
  const one = await open({ registry, node: "one", token: "t0ken" });
  const two = await open({ registry, node: "two", token: "t0ken" });
  const name = await one.resource("rooms", "mine").say("one");
  expect(name).toBe("one");
  const error = await connect<typeof app>(two.url, { token: "t0ken" })
    .call("rooms", "mine", "say", ["two"]).catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ code: "unavailable" });
  expect(String((error as Error).message)).toMatch(/ATLAS_SECRET/);
  expect(ran).toEqual(["one"]);
  expect(one.stats().links + two.stats().links).toBe(0);
});

test("a node that serves beyond loopback without a token logs one warning", async () => {
  const beyond = await open({ host: "0.0.0.0", secret: SECRET });
  const published = await open({ publicUrl: "https://atlas.example" });
  for (const { events } of [beyond, published]) {
    const warnings = events.filter(({ level }) => level === "warning");
    expect(warnings).toHaveLength(1);
    expect(JSON.stringify(warnings)).toMatch(/beyond loopback without ATLAS_TOKEN/);
  }
  const guarded = await open({ host: "0.0.0.0", secret: SECRET, token: "t0ken" });
  const local = await open();
  for (const { events } of [guarded, local]) {
    expect(events.filter(({ level }) => level === "warning")).toEqual([]);
  }
});
