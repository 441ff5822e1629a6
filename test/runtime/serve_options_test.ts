/** Wrong options of `serve` and `createNode` are refused by name, before anything is opened. */
import { type AddressInfo, createServer } from "node:net";
import process from "node:process";
import { expect, test } from "vitest";
import { serve, type ServeOptions } from "../../adapters/server/serve.ts";
import { createNode, type CreateNodeOptions, inProcessTransport, memoryStore } from "../../mod.ts";
import { defineApp } from "../../src/api/app.ts";
import { Resource } from "../../src/api/resource.ts";

class Room extends Resource {}
const app = defineApp({ resources: { rooms: Room } });

const bad = (message: string) =>
  expect.objectContaining({ code: "bad_request", message: expect.stringContaining(message) });

test.each<[options: unknown, message: string]>([
  [null, "options is null, it must be an object"],
  ["x", 'options is "x", it must be an object'],
  [
    { regon: "x" },
    'there is no option "regon"; there are: addresses, bootstrap, gateways, homes, host',
  ],
  [{ log: "x" }, 'there is no option "log"'],
  [{ token: 5 }, "token is of type number, it must be text"],
  [{ token: null }, "token is of type object, it must be text"],
  [{ token: " " }, "token holds white space"],
  [{ secret: ["hush", "hush"] }, "secret is of type object, it must be text"],
  [{ port: true }, "port is true, it must be a number"],
  [{ lease: 5 }, "lease is 5, it must be standard, fast, frugal or heartbeatMs/leaseMs"],
  [{ onEvent: 5 }, "onEvent is 5, it must be a function"],
  [{ gateways: 5 }, "gateways is 5, it must be { <region>: [<URL>, …] }"],
  [{ gateways: ["eu=http://a"] }, 'gateways is ["eu=http://a"], it must be'],
  [{ gateways: { eu: "http://a" } }, 'gateways.eu is "http://a", it must be a list of URLs'],
  [{ gateways: { eu: [null] } }, "gateways.eu is [null], it must be a list of URLs"],
  [{ addresses: 5 }, "addresses is 5: use <URL>,<URL>"],
  [{ addresses: ["http://a", null] }, "addresses has the entry null (it is not text)"],
])("serve(app, %j)", async (options, message) => {
  const given = typeof options === "object" && options ? { registry: "memory:", port: 0 } : null;
  const served = serve(app, (given ? { ...given, ...options as object } : options) as object);
  await expect(served).rejects.toEqual(bad(message));
});

test.each([5, {}, "app", { resources: 5 }])("serve(%j) is refused", async (given) => {
  const served = serve(given as never, { registry: "memory:", port: 0 });
  await expect(served).rejects.toEqual(bad("it must be the result of defineApp()"));
});

test.each<[change: object, message: string]>([
  [{ foo: 1 }, 'there is no option "foo"; there are: bootstrap, clock, context'],
  [{ store: undefined }, "store is undefined, it must be a store"],
  [{ store: {} }, "store is {}, it must be a store with claim() and the port's other methods"],
  [{ transport: null }, "transport is null, it must be a transport"],
  [{ clock: 5 }, "clock is 5, it must be a clock"],
  [{ onEvent: "x" }, 'onEvent is "x", it must be a function'],
  [{ gateways: { eu: "ws://a" } }, 'gateways is {"eu":"ws://a"}, it must be { <region>: ['],
])("createNode(app, %o) is refused", async (change, message) => {
  const whole = {
    region: "local",
    node: "n",
    store: memoryStore(),
    transport: inProcessTransport(),
  };
  const options = { ...whole, ...change } as CreateNodeOptions;
  await expect(createNode(app, options)).rejects.toEqual(bad(message));
});

test("createNode refuses a call without options, or without an app", async () => {
  await expect(createNode(app, null as never)).rejects.toEqual(bad("store is undefined"));
  const whole = {
    region: "local",
    node: "n",
    store: memoryStore(),
    transport: inProcessTransport(),
  };
  await expect(createNode(5 as never, whole)).rejects.toEqual(
    bad("app is 5, it must be the result of defineApp()"),
  );
});

test("a node's name is the name that its host gives the machine, on any free port and on a given port", async () => {
  const machine = process.env["FLY_MACHINE_ID"];
  process.env["FLY_MACHINE_ID"] = "d890";
  try {
    const node = await serve(app, { registry: "memory:", port: 0, onEvent: () => {} });
    const [member] = await node.members();
    expect(member?.node).toBe(`atlas@d890-${new URL(node.url).port}`);
    await node.close();
  } finally {
    if (machine === undefined) delete process.env["FLY_MACHINE_ID"];
    else process.env["FLY_MACHINE_ID"] = machine;
  }
});

test("an error names only the wrong setting, by the name under which it was given", async () => {
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
  const { port } = taken.address() as AddressInfo;
  const errorOf = (options: ServeOptions) =>
    serve(app, { registry: "memory:", port: 0, ...options, onEvent: () => {} }).then(
      () => "it serves",
      (error: Error) => error.message,
    );
  const secret = "0123456789abcdef0123456789abcdef";
  try {
    expect(await errorOf({ port })).toMatch(
      new RegExp(`^port is ${port}: can't listen on .*in use$`),
    );
    expect(await errorOf({ host: "192.0.2.1", secret })).toMatch(
      /^host is 192\.0\.2\.1: can't listen/,
    );
    process.env["PORT"] = String(port);
    expect(await serve(app, { registry: "memory:" }).catch((error: Error) => error.message))
      .toMatch(new RegExp(`^PORT is ${port}: can't listen`));
    delete process.env["PORT"];
    expect(await errorOf({ registry: "redis://127.0.0.1:1" })).toMatch(/^registry is redis:/);
    expect(await errorOf({ registry: "us=memory:,eu=memory:" }))
      .toBe("ATLAS_REGION is not set: use one of us, eu, the regions of the registry");
    expect(await errorOf({ registry: "us=memory:,eu=memory:", region: "mars" }))
      .toBe('region is "mars": use one of us, eu, the regions of the registry');
  } finally {
    delete process.env["PORT"];
    taken.close();
  }
});
