/**
 * `atlas drain`, on the runtime that runs this: it sends one request to the node at `--url`, which
 * requests the others to drain over its links. A registry row with another address gets no secret.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { DatabaseSync } from "node:sqlite";
import { join } from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import { runCli } from "../../adapters/cli/run.ts";
import { serve, type ServedNode, type ServeOptions } from "../../adapters/server/serve.ts";
import { openStore } from "../../adapters/store/open/open.ts";
import { Channel } from "../../examples/channels/app.ts";
import { defineApp } from "../../mod.ts";
import { freePort } from "../support/ports.ts";
import { cleanupsAfterEach } from "../support/cleanups.ts";

const TOKEN = "operators-t0ken";
const SECRET = "s".repeat(32);
// Without modules: authorities of a market would open links of their own.
const app = defineApp({ resources: { channels: Channel } });
type Node = ServedNode<typeof app>;

let folder: string;
let registry: string;
const cleanups = cleanupsAfterEach();
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "atlas-drain-"));
  registry = `file:${join(folder, "registry.db")}`;
  cleanups.push(() => rmSync(folder, { recursive: true, force: true }));
});

async function open(node: string, options: ServeOptions = {}): Promise<Node> {
  const given = { registry, region: "r", node, port: 0, token: TOKEN, secret: SECRET };
  const served = await serve(app, { ...given, onEvent: () => {}, ...options });
  cleanups.push(() => served.close());
  return served;
}

/** Writes a live member to the registry that is no real node. */
async function plant(node: string, address: string, region = "r"): Promise<void> {
  const store = await openStore(registry, { onEvent: () => {} });
  const incarnation = crypto.randomUUID();
  await store.register({ incarnation, region, node, address, hosts: ["channels"] }, {
    ifFree: false,
  });
  await store.close();
}

async function atlas(url: string, ...words: string[]) {
  let out = "";
  let err = "";
  const env = { ATLAS_URL: url, ATLAS_TOKEN: TOKEN };
  const streams = { out: (text: string) => out += text, err: (text: string) => err += text };
  return { status: await runCli(words, env, streams), out, err };
}

/** A bare server, whose connections end with the test; gives its port. */
async function listen(serve: (socket: Socket) => void): Promise<number> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    serve(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  cleanups.push(() => {
    for (const socket of sockets) socket.destroy();
    return new Promise((resolve) => server.close(resolve));
  });
  return (server.address() as AddressInfo).port;
}

/** A server that records its input, and sends the answer from `answer`, or none. */
async function listener(answer?: (socket: Socket, received: string) => void) {
  const it = { received: "", connections: 0, port: 0 };
  it.port = await listen((socket) => {
    it.connections++;
    socket.on("data", (data) => {
      it.received += data.toString("latin1");
      answer?.(socket, it.received);
    });
  });
  return it;
}

describe("a forged member of the registry", () => {
  test("gets nothing from commands that don't concern it", async () => {
    const [a, b] = [await open("a"), await open("b")];
    const evil = await listener();
    await plant("evil", `ws://127.0.0.1:${evil.port}/atlas/link`);
    expect((await atlas(a.url, "nodes")).out).toContain("evil");
    expect(await atlas(a.url, "drain", "rrp:r/b/")).toMatchObject({
      status: 0,
      out: "r/b hands over rrp:r/b/\n",
    });
    expect(await atlas(a.url, "drain", "b")).toMatchObject({
      status: 0,
      out: "r/b is draining\n",
      err: "",
    });
    await expect.poll(() => b.state).toBe("draining");
    expect(a.state).toBe("serving");
    expect([evil.connections, evil.received]).toEqual([0, ""]);
  });

  test("is dialled for a link by a drain that concerns it, and gets no secret and no request", async () => {
    const a = await open("a");
    const evil = await listener((socket, received) => {
      if (!received.endsWith("\r\n\r\n")) return;
      socket.end("HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}");
    });
    await plant("evil", `ws://127.0.0.1:${evil.port}/atlas/link`);
    const { status, out, err } = await atlas(a.url, "drain", "rrp:r/", "--timeout", "2000");
    expect(status).toBe(1);
    expect(out.split("\n").sort()).toEqual([
      "",
      "r/a hands over rrp:r/",
      "r/evil does not: unavailable",
    ]);
    expect(err).toMatch(/^unavailable: r\/evil: .*gave no link/);
    expect(evil.received).toMatch(/^GET \/atlas\/link HTTP\/1\.1\r\n/);
    expect(evil.received.toLowerCase()).not.toMatch(/authorization|t0ken|post |drain/);
    expect(evil.received).not.toContain(SECRET);
  });

  test("can't forward a request to the node whose incarnation it claims", async () => {
    const [a, b] = [await open("a"), await open("b")];
    // Forwards all bytes to b and back: b's real handshake, at another address.
    const port = await listen((near) => {
      const far = connect(Number(new URL(b.url).port), "127.0.0.1");
      far.on("error", () => {});
      near.pipe(far);
      far.pipe(near);
      near.on("close", () => far.destroy());
    });
    const store = await openStore(registry, { onEvent: () => {} });
    const { members } = await store.members();
    const member = members.find(({ node }) => node === "b");
    await store.close();
    if (!member) throw new Error("b is not registered");
    const db = new DatabaseSync(join(folder, "registry.db"));
    db.exec("PRAGMA busy_timeout=2000");
    const changed = db.prepare("UPDATE atlas_member SET address = ? WHERE incarnation = ?")
      .run(`ws://127.0.0.1:${port}/atlas/link`, member.incarnation);
    db.exec("UPDATE atlas_version SET version = version + 1");
    db.close();
    expect(Number(changed.changes)).toBe(1);
    const { status, out, err } = await atlas(a.url, "drain", "b", "--timeout", "2000");
    expect([status, out]).toEqual([1, "r/b does not: unavailable\n"]);
    expect(err).toContain("name it in its ATLAS_ADDRESSES");
    expect(b.state).toBe("serving");
  });
});

describe("a drain that doesn't reach one of the nodes", () => {
  test("shows the result of each node, as text and as JSON, and exits with 1", async () => {
    const [a, b] = [await open("a"), await open("b")];
    await plant("dead", `ws://127.0.0.1:${await freePort()}/atlas/link`);
    const words = ["drain", "rrp:r/", "--for", "90s", "--timeout", "2000"];
    const { status, out, err } = await atlas(a.url, ...words);
    expect(status).toBe(1);
    expect(out.trim().split("\n").sort()).toEqual([
      "r/a hands over rrp:r/",
      "r/b hands over rrp:r/",
      "r/dead does not: unavailable",
    ]);
    expect(err).toMatch(/^unavailable: r\/dead: .*gave no link/);

    const output = await atlas(a.url, ...words, "--json");
    expect(output.status).toBe(1);
    const { nodes } = JSON.parse(output.out) as { nodes: { node: string }[] };
    expect(nodes.sort((one, other) => one.node < other.node ? -1 : 1)).toMatchObject([
      { region: "r", node: "a", incarnation: a.incarnation, prefix: "rrp:r/", forMs: 90_000 },
      { region: "r", node: "b", incarnation: b.incarnation, prefix: "rrp:r/", forMs: 90_000 },
      { region: "r", node: "dead", error: { code: "unavailable", maybeExecuted: false } },
    ]);
    expect([a.state, b.state]).toEqual(["serving", "serving"]);
  });
});

test("control characters in a cluster's names don't reach the terminal", async () => {
  const port = await listen((socket) =>
    socket.once("data", () => {
      const error = { code: "unavailable", message: "a\u001b]0;x\u0007b" };
      const body = JSON.stringify({ nodes: [{ region: "r", node: "\u001b[2Jn", error }] });
      const head = `content-type: application/json\r\ncontent-length: ${body.length}`;
      socket.end(`HTTP/1.1 202 Accepted\r\n${head}\r\nconnection: close\r\n\r\n${body}`);
    })
  );
  expect(await atlas(`http://127.0.0.1:${port}`, "drain", "n")).toEqual({
    status: 1,
    out: "r/?[2Jn does not: unavailable\n",
    err: "unavailable: r/?[2Jn: a?]0;x?b\n",
  });
});

describe("POST /v1/drain", () => {
  const post = async (node: Node, query: string) => {
    const headers = { authorization: `Bearer ${TOKEN}` };
    const answer = await fetch(`${node.url}/v1/drain${query}`, { method: "POST", headers });
    return { status: answer.status, body: await answer.json() };
  };

  test("releases the resources under a prefix, on each node that has some", async () => {
    const [a, b] = [await open("a"), await open("b")];
    await a.resource("channels", "at-a").send("ann", "1");
    await b.resource("channels", "at-b").send("ann", "1");
    const prefix = "rrp:r/";
    const answer = await post(a, `?prefix=${encodeURIComponent(prefix)}&forMs=60000`);
    expect(answer).toMatchObject({
      status: 202,
      body: { prefix, forMs: 60_000, region: "r", node: "a" },
    });
    expect(answer.body.nodes).toHaveLength(2);
    await expect.poll(() => a.count(prefix)).toBe(0);
  });

  test("drains one node, completely or by prefix, and refuses unknown names", async () => {
    const [a, b] = [await open("a"), await open("b")];
    await open("a", { region: "s" });
    await b.resource("channels", "at-b").send("ann", "1");
    const own = encodeURIComponent("rrp:r/b/channels/");
    expect(await post(a, `?node=r/b&prefix=${own}`)).toMatchObject({
      status: 202,
      body: { nodes: [{ region: "r", node: "b", prefix: "rrp:r/b/channels/" }] },
    });
    await expect.poll(() => a.count("rrp:r/b/")).toBe(0);
    expect(await post(a, "?node=a")).toMatchObject({
      status: 400,
      body: { error: { code: "bad_request", message: expect.stringContaining("r/a, s/a") } },
    });
    for (
      const [query, code] of [["x", "not_found"], ["a/b/c", "bad_request"], ["a b", "invalid_rrp"]]
    ) {
      expect(await post(a, `?node=${query}`)).toMatchObject({ body: { error: { code } } });
    }
    expect(await post(a, "?node=b&forMs=5")).toMatchObject({ status: 400 });
    expect(await post(a, "?prefix=rrp:elsewhere/")).toMatchObject({ status: 404 });
    expect(await post(a, "?node=b")).toMatchObject({
      status: 202,
      body: { nodes: [{ region: "r", node: "b", state: "draining" }] },
    });
    await expect.poll(() => b.state).toBe("draining");
    expect(a.state).toBe("serving");
    expect(await post(a, "")).toMatchObject({
      status: 202,
      body: { state: "draining", node: "a" },
    });
    await expect.poll(() => a.state).toBe("draining");
  });

  test("reaches a node behind a gateway of its region", async () => {
    const gateway = await open("gw", { region: "eu" });
    const behind = await open("behind", { region: "eu", publicUrl: "http://127.0.0.1:9" });
    await gateway.resource("channels", "near").send("ann", "1");
    await behind.resource("channels", "near").history();
    const a = await open("a", { gateways: { eu: [gateway.url] } });
    expect(await post(a, "?node=behind")).toMatchObject({
      status: 202,
      body: { nodes: [{ region: "eu", node: "behind", state: "draining" }] },
    });
    await expect.poll(() => behind.state).toBe("draining");
    expect(gateway.state).toBe("serving");
  });

  test("is the only way to drain: callers can't call the internal method", async () => {
    const a = await open("a");
    const refused = { code: "not_found" };
    const key = `nodes/${a.incarnation}`;
    const args = JSON.stringify([a.incarnation, null, null]);
    for (const path of [`${key}/$drain`, `${key}/%24drain`, "channels/x/$drain"]) {
      const headers = { authorization: `Bearer ${TOKEN}` };
      const url = `${a.url}/v1/resources/${path}`;
      const answer = await fetch(url, { method: "POST", headers, body: args });
      expect([answer.status, await answer.json()]).toMatchObject([404, { error: refused }]);
    }
    await expect(a.call("channels", "x", "$drain", [a.incarnation, null, null])).rejects
      .toMatchObject(refused);

    const url = `${a.url.replace("http", "ws")}/v1/connect/channels/x`;
    const socket = new WebSocket(url, [`atlas.token.${encodeURIComponent(TOKEN)}`]);
    cleanups.push(async () => socket.close());
    const frames: unknown[] = [];
    socket.onmessage = ({ data }) => void frames.push(JSON.parse(String(data)));
    await expect.poll(() => frames[0]).toMatchObject({ t: "hello" });
    socket.send(JSON.stringify({ t: "call", id: 1, method: "$drain", args: JSON.parse(args) }));
    await expect.poll(() => frames[1]).toMatchObject({ t: "reply", id: 1, error: refused });
    expect(a.state).toBe("serving");
  });
});
