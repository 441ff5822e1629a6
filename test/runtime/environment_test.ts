/**
 * A node's settings: what is allowed, what is refused, and how each refusal reads.
 *
 * Covers adapters/config/registry_setting.ts.
 */
import { describe, expect, test } from "vitest";
import { readLogLevel, readSettings, type Settings } from "../../adapters/config/environment.ts";
import { defaultNodeName, urlOf, urlOfLink } from "../../adapters/config/hosts.ts";
import { homesOf, namingRegistry } from "../../adapters/config/registry_setting.ts";
import type { HomeRules } from "../../adapters/store/regional/homes.ts";

const SECRET = "0123456789abcdef0123456789abcdef";

/** The error's message for a set of variables. */
function refusal(env: Record<string, string>, given: Settings = {}): string {
  try {
    readSettings(env, given);
  } catch (error) {
    expect(error).toMatchObject({ name: "AtlasError", code: "bad_request" });
    return (error as Error).message;
  }
  throw new Error(`not refused: ${JSON.stringify(env)}`);
}

test("without variables every setting has its documented default", () => {
  expect(readSettings({})).toEqual({
    region: "local",
    node: undefined,
    machine: undefined,
    registry: "file:.atlas/registry.db",
    host: "127.0.0.1",
    port: 8080,
    publicUrl: undefined,
    secrets: [],
    token: undefined,
    lease: "standard",
    role: undefined,
    bootstrap: undefined,
    watch: false,
    gateways: {},
    addresses: [],
    origins: [],
  });
  expect(readLogLevel({})).toBe("info");
});

test("an empty variable counts as unset", () => {
  expect(readSettings({ PORT: "", ATLAS_REGION: " ", ATLAS_LEASE: "" })).toEqual(readSettings({}));
});

test("a token or secret of white space is refused, an empty one counts as unset", () => {
  expect(refusal({ ATLAS_TOKEN: " " })).toMatch(/^ATLAS_TOKEN is empty: use printable ASCII/);
  expect(refusal({ ATLAS_SECRET: "\t" })).toMatch(/^ATLAS_SECRET must be one secret, or two/);
  expect(readSettings({ ATLAS_TOKEN: "", ATLAS_SECRET: "" })).toEqual(readSettings({}));
});

test("a program's options take precedence over the environment", () => {
  const env = { PORT: "1", ATLAS_REGION: "a", ATLAS_LEASE: "fast" };
  const lease = { heartbeatMs: 100, leaseMs: 300 };
  const settings = readSettings(env, { port: 0, region: "b", lease });
  expect(settings).toMatchObject({ port: 0, region: "b", lease });
});

test("each URL of a registry by region is checked, and the error names the region", () => {
  const env = { ATLAS_REGION: "us" };
  const registry = "us=redis://u:hunter2@h,eu=https://h2";
  const message = refusal({ ...env, ATLAS_REGISTRY_URL: registry });
  expect(message).toContain("ATLAS_REGISTRY_TOKEN is not set");
  const settings = readSettings({
    ...env,
    ATLAS_REGISTRY_URL: registry,
    ATLAS_REGISTRY_TOKEN: "r3st",
  });
  expect(settings.registry).toBe(registry);
  const bad = refusal({ ...env, ATLAS_REGISTRY_URL: "us=redis://u:hunter2@h,eu=ftp://h2" });
  expect(bad).toMatch(/^ATLAS_REGISTRY_URL's region eu is "ftp:\/\/h2": use .*<region>=<URL>/);
  expect(bad).not.toMatch(/hunter2|us=/);
  expect(refusal({ ...env, ATLAS_REGISTRY_URL: "us=memory:,us=memory:" }))
    .toMatch(/^ATLAS_REGISTRY_URL: .*"us" \(it stands there twice\)/);
  expect(refusal({ ATLAS_REGISTRY_URL: "u~s=memory:", ATLAS_REGION: "u~s" }))
    .toMatch(/^ATLAS_REGISTRY_URL: .*"u~s"/);
});

test("a node's region must be one of the registry's", () => {
  const ATLAS_REGISTRY_URL = "us=memory:,eu=memory:";
  expect(refusal({ ATLAS_REGISTRY_URL, ATLAS_REGION: "mars" }))
    .toBe('ATLAS_REGION is "mars": use one of us, eu, the regions of the registry');
  expect(refusal({ ATLAS_REGISTRY_URL })).toMatch(/^ATLAS_REGION is not set/);
  expect(refusal({ ATLAS_REGISTRY_URL, FLY_REGION: "fra" })).toMatch(/^FLY_REGION is "fra"/);
  expect(refusal({ ATLAS_REGISTRY_URL }, { region: "mars" })).toMatch(/^region is "mars"/);
});

describe("tokens of registries over HTTP", () => {
  const ATLAS_REGISTRY_URL = "us=https://a,eu=https://b,ap=redis://c";
  const env = { ATLAS_REGISTRY_URL, ATLAS_REGION: "us" };
  const tokens = (ATLAS_REGISTRY_TOKEN: string) =>
    readSettings({ ...env, ATLAS_REGISTRY_TOKEN }).registryToken;

  test("are one for all, or one for each region", () => {
    for (const token of ["t0k", "AYx+/=", "AYx==", "a,b"]) expect(tokens(token)).toBe(token);
    const each = { us: "t1==", eu: "t2" };
    expect(tokens("us=t1==, eu=t2")).toEqual(each);
    expect(tokens("us=t1,eu=t2,ap=t3")).toEqual({ us: "t1", eu: "t2", ap: "t3" });
    expect(readSettings(env, { registryToken: each }).registryToken).toEqual(each);
    // A single registry has one token, whatever characters that contains.
    const single = { ATLAS_REGISTRY_URL: "https://a", ATLAS_REGISTRY_TOKEN: "us=hunter2" };
    expect(readSettings(single).registryToken).toBe("us=hunter2");
  });

  test.each([
    ["us=hunter2", "ATLAS_REGISTRY_TOKEN has no token for the region eu"],
    ["us=hunter2,us=hunter3", "ATLAS_REGISTRY_TOKEN has the region us twice"],
    ["us=hunter2,hunter3", "entry without one of the registry's regions: use"],
    ["us=hunter2,mars=hunter3", "with us, eu, ap, or one token"],
    ["uss=hunter2,eus=hunter3", "with us, eu, ap, or one token"],
    ["us=hunter2,eu=", "ATLAS_REGISTRY_TOKEN's region eu is empty"],
    ["us=,eu=hunter2", "ATLAS_REGISTRY_TOKEN's region us is empty"],
    ["us=hunter2 3,eu=hunter2", "ATLAS_REGISTRY_TOKEN's region us holds white space"],
  ])("that are wrong are refused without being quoted: %s", (text, part) => {
    const message = refusal({ ...env, ATLAS_REGISTRY_TOKEN: text });
    expect(message).toContain(part);
    expect(message).not.toContain("hunter");
  });

  test("by region need a registry by region", () => {
    const given = { registry: "https://a", registryToken: { us: "hunter2" } };
    expect(refusal({}, given)).toContain("with a registry by region");
  });
});

test("an error about a registry names its variable and region", () => {
  const cause = new Error("can't log in to redis://u:hunter2@h with hunter2");
  const errorOf = (registry: string) =>
    namingRegistry("ATLAS_REGISTRY_URL", registry, "us", cause).message;
  expect(errorOf("redis://u:hunter2@h")).toBe(
    "ATLAS_REGISTRY_URL is redis://***@h: can't log in to redis://***@h with ***",
  );
  expect(errorOf("eu=redis://e,us=redis://u:hunter2@h")).toBe(
    "ATLAS_REGISTRY_URL's region us is redis://***@h: can't log in to redis://***@h with ***",
  );
});

test("homes must name the registry's regions", () => {
  const registry = "us=memory:,eu=memory:";
  const check = (homes: unknown) => () => homesOf(registry, homes as HomeRules);
  expect(check({ types: { rooms: "eu" } })()).toEqual({ types: { rooms: "eu" } });
  expect(check(undefined)()).toBeUndefined();
  expect(homesOf("memory:", { default: "us" })).toEqual({ default: "us" });
  expect(check({ default: "zz" })).toThrow('homes.default is "zz", it must be one of us, eu');
  expect(check({ types: { rooms: "zz" } })).toThrow("homes.types.rooms");
});

test("all variables may be set together", () => {
  const settings = readSettings({
    ATLAS_REGION: "us-east-1",
    ATLAS_NODE: "hop@node-1",
    ATLAS_REGISTRY_URL: "rediss://user:pass@redis.example:6380/2",
    ATLAS_REGISTRY_TOKEN: "r3st",
    ATLAS_HOST: "0.0.0.0",
    PORT: "0",
    ATLAS_PUBLIC_URL: "https://node-1.example/atlas-1/",
    ATLAS_SECRET: `${SECRET},${SECRET}-old`,
    ATLAS_TOKEN: "t0ken",
    ATLAS_LEASE: "50/100",
    ATLAS_ROLE: "worker",
    ATLAS_BOOTSTRAP: "static:http://10.0.0.1:8080, https://b.example/atlas",
    ATLAS_WATCH: "1",
    ATLAS_ADDRESSES: "http://10.0.0.1:8080, wss://lb.example/x/atlas/link",
  });
  expect(settings).toEqual({
    addresses: ["ws://10.0.0.1:8080/atlas/link", "wss://lb.example/x/atlas/link"],
    registryToken: "r3st",
    gateways: {},
    origins: [],
    region: "us-east-1",
    node: "hop@node-1",
    machine: undefined,
    registry: "rediss://user:pass@redis.example:6380/2",
    host: "0.0.0.0",
    port: 0,
    publicUrl: "https://node-1.example/atlas-1",
    secrets: [SECRET, `${SECRET}-old`],
    token: "t0ken",
    lease: { heartbeatMs: 50, leaseMs: 100 },
    role: "worker",
    bootstrap: { static: ["http://10.0.0.1:8080", "https://b.example/atlas"] },
    watch: true,
  });
});

test.each([
  ["ATLAS_REGION", "us/east"],
  ["ATLAS_NODE", "a b"],
  ["ATLAS_NODE", "x".repeat(65)],
  ["ATLAS_REGISTRY_URL", "http://eu1-x.upstash.io"],
  ["ATLAS_REGISTRY_URL", "http://127.0.0.1.example.com"],
  ["ATLAS_REGISTRY_URL", "postgres://x"],
  ["ATLAS_REGISTRY_URL", "file:"],
  ["ATLAS_HOST", "http://x"],
  ["PORT", "80a"],
  ["PORT", "65536"],
  ["PORT", "-1"],
  ["ATLAS_PUBLIC_URL", "ftp://x"],
  ["ATLAS_PUBLIC_URL", "https://x/?a=b"],
  ["ATLAS_PUBLIC_URL", `https://x/${"y".repeat(1_000)}`],
  ["ATLAS_LEASE", "quick"],
  ["ATLAS_LEASE", "49/200"],
  ["ATLAS_LEASE", "100/199"],
  ["ATLAS_ROLE", "boss"],
  ["ATLAS_BOOTSTRAP", "consul"],
  ["ATLAS_BOOTSTRAP", "static:"],
  ["ATLAS_BOOTSTRAP", "static:http://a,,http://b"],
  ["ATLAS_BOOTSTRAP", "static:a:8080"],
  ["ATLAS_BOOTSTRAP", "static:http://a?b=c"],
  ["ATLAS_BOOTSTRAP", "dns:atlas.internal"],
  ["ATLAS_BOOTSTRAP", "dns::8080"],
  ["ATLAS_BOOTSTRAP", "dns:atlas.internal:0"],
  ["ATLAS_BOOTSTRAP", "dns:atlas.internal:65536"],
  ["ATLAS_BOOTSTRAP", "dns:http://atlas.internal:80"],
  ["ATLAS_WATCH", "yes"],
  ["ATLAS_ORIGINS", "app.example"],
  ["ATLAS_ORIGINS", "https://app.example/"],
  ["ATLAS_ORIGINS", "ftp://app.example"],
  ["ATLAS_ORIGINS", "null"],
  ["ATLAS_GATEWAYS", "https://a"],
  ["ATLAS_GATEWAYS", "eu-west-1=ftp://a"],
  ["ATLAS_GATEWAYS", "eu west=https://a"],
  ["ATLAS_GATEWAYS", "eu-west-1=https://a/?x=1"],
  ["ATLAS_GATEWAYS", "=https://a"],
])("%s=%s is refused by name and value", (variable, value) => {
  const message = refusal({ [variable]: value });
  expect(message).toContain(variable);
  expect(message).toContain(value.slice(0, 60));
  expect(message).not.toContain("\n");
});

test("a log level that doesn't exist is refused", () => {
  expect(() => readLogLevel({ ATLAS_LOG: "loud" })).toThrow(/ATLAS_LOG is "loud": use debug/);
});

test("ATLAS_WATCH is a path, a file URL, or a flag", () => {
  const watch = (given: unknown, env: object = {}) =>
    readSettings({ ...env }, { watch: given as string }).watch;
  expect(watch("app.ts")).toBe("app.ts");
  expect(watch(new URL("file:///srv/app.ts"))).toBe("file:///srv/app.ts");
  expect(watch(undefined, { ATLAS_WATCH: "1" })).toBe(true);
  expect(watch(false, { ATLAS_WATCH: "1" })).toBe(false);
  for (const bad of [new URL("https://a.example/app.ts"), "", 2, {}, null, ["app.ts"]]) {
    expect(refusal({}, { watch: bad as string })).toMatch(
      /^watch is .*: use true, false, or the path or file URL of the app's file$/,
    );
  }
  expect(refusal({ ATLAS_WATCH: "app.ts" })).toBe('ATLAS_WATCH is "app.ts": use 1 or 0');
});

test("a wrong option is refused with its own name", () => {
  expect(refusal({}, { port: 70_000 })).toMatch(/^port is "70000"/);
  expect(refusal({}, { bootstrap: { static: [] } })).toMatch(/^bootstrap is .*: use registry/);
  expect(refusal({}, { bootstrap: { dns: "a", port: 0 } })).toMatch(/^bootstrap is /);
  expect(refusal({ ATLAS_BOOTSTRAP: "static:https://me:hunter2@a" })).not.toContain("hunter2");
  expect(refusal({}, { lease: { heartbeatMs: 10, leaseMs: 20 } })).toMatch(/^lease is "10\/20"/);
});

test("beyond loopback a secret of 32 bytes is needed, and never quoted", () => {
  expect(refusal({ ATLAS_HOST: "0.0.0.0" })).toMatch(/ATLAS_SECRET is not set.*32 bytes/);
  const short = refusal({ ATLAS_HOST: "192.0.2.1", ATLAS_SECRET: "hunter2" });
  expect(short).toMatch(/ATLAS_SECRET has a secret of 7 bytes/);
  expect(short).not.toContain("hunter2");
  const shortPrevious = refusal({ ATLAS_HOST: "::", ATLAS_SECRET: `${SECRET},hunter2` });
  expect(shortPrevious).not.toContain("hunter2");
  expect(readSettings({ ATLAS_HOST: "::1", ATLAS_SECRET: "short" }).secrets).toEqual(["short"]);
});

test("an invalid secret or token is refused without being quoted", () => {
  expect(refusal({ ATLAS_SECRET: "a,b,hunter2" })).not.toContain("hunter2");
  expect(refusal({ ATLAS_SECRET: "hunter2," })).not.toContain("hunter2");
  const token = refusal({ ATLAS_TOKEN: "hunter2 and more" });
  expect(token).toContain("ATLAS_TOKEN");
  expect(token).not.toContain("hunter2");
});

test("a registry over HTTP needs a token, and may be reached without TLS only on loopback", () => {
  const https = { ATLAS_REGISTRY_URL: "https://eu1-x.upstash.io" };
  expect(refusal(https)).toMatch(/^ATLAS_REGISTRY_TOKEN is not set/);
  const bad = refusal({ ...https, ATLAS_REGISTRY_TOKEN: "hunter2 x" });
  expect(bad).toMatch(/^ATLAS_REGISTRY_TOKEN holds white space/);
  expect(bad).not.toContain("hunter2");
  expect(readSettings({ ...https, ATLAS_REGISTRY_TOKEN: "t" })).toMatchObject({
    registry: "https://eu1-x.upstash.io",
    registryToken: "t",
  });
  for (const registry of ["http://localhost:8079", "http://127.0.0.1:1/", "http://[::1]:80"]) {
    expect(readSettings({}, { registry, registryToken: "t" }).registry).toBe(registry);
  }
});

test("a refused setting is shown without its password", () => {
  for (const url of ["mysql://me:hunter2@host", "us=mysql://me:hun/ter2@host"]) {
    expect(refusal({ ATLAS_REGISTRY_URL: url, ATLAS_REGION: "us" })).not.toMatch(/hun|ter2/);
  }
  expect(refusal({ ATLAS_PUBLIC_URL: "https://me:hunter2@host" })).not.toContain("hunter2");
  expect(refusal({}, { bootstrap: { static: ["https://me:hunter2@host"] } })).not.toContain(
    "hunter2",
  );
});

test("a node's name is that of its machine, with invalid characters replaced and cut to the limit", () => {
  expect(defaultNodeName(8080, "web-1.example")).toBe("atlas@web-1.example-8080");
  expect(defaultNodeName(8080, "Jo's Mac/é")).toBe("atlas@Jo-s-Mac--8080");
  expect(defaultNodeName(65_535, "h".repeat(100))).toHaveLength(64);
  expect(defaultNodeName(1, "")).toBe("atlas@localhost-1");
});

test("an address is derived from a node's host and port, and can be converted back", () => {
  expect(urlOf("127.0.0.1", 8080)).toBe("http://127.0.0.1:8080");
  expect(urlOf("::1", 8080)).toBe("http://[::1]:8080");
  expect(urlOf("0.0.0.0", 8080)).toMatch(/^http:\/\/(?!0\.0\.0\.0)[^/]+:8080$/);
  expect(urlOfLink("wss://a.example/x/atlas/link")).toBe("https://a.example/x");
  for (const address of ["in-process:1", "ws://169.254.169.254/atlas/link", "ws://a.example/x"]) {
    expect(() => urlOfLink(address)).toThrow(/may not be dialled/);
  }
});

test("gateways are listed by region, and dialled as links", () => {
  const list = "eu-west-1=https://a, https://b:8443/x,us-east-1=http://127.0.0.1:1,";
  const gateways = {
    "eu-west-1": ["wss://a/atlas/link", "wss://b:8443/x/atlas/link"],
    "us-east-1": ["ws://127.0.0.1:1/atlas/link"],
  };
  expect(readSettings({ ATLAS_GATEWAYS: list }).gateways).toEqual(gateways);
  expect(readSettings({}, { gateways: list }).gateways).toEqual(gateways);
  const spelt = list.replace(" https", "eu-west-1=https");
  expect(readSettings({ ATLAS_GATEWAYS: spelt }).gateways).toEqual(gateways);
  expect(refusal({ ATLAS_GATEWAYS: "https://a,eu=https://b" })).toMatch(/a region and a URL/);
  expect(readSettings({}, { gateways: { eu: ["https://a", "https://a"] } }).gateways)
    .toEqual({ eu: ["wss://a/atlas/link"] });
  const many = Array.from({ length: 17 }, (_, i) => `eu=https://${i}`).join(",");
  expect(refusal({ ATLAS_GATEWAYS: many })).toContain("more than 16 gateways of region eu");
  expect(refusal({ ATLAS_GATEWAYS: "eu=https://me:hush@a" })).not.toContain("hush");
});

test("origins may be a list, or all", () => {
  const origins = ["https://app.example", "http://localhost:5173"];
  expect(readSettings({ ATLAS_ORIGINS: `${origins.join(", ")},` }).origins).toEqual(origins);
  expect(readSettings({ ATLAS_ORIGINS: "*" }, { origins }).origins).toEqual(origins);
  expect(readSettings({}, { origins: origins.join() }).origins).toEqual(origins);
  expect(readSettings({ ATLAS_ORIGINS: "*" }).origins).toEqual(["*"]);
  expect(readSettings({ ATLAS_ORIGINS: "*" }, { origins: [] }).origins).toEqual([]);
  expect(refusal({ ATLAS_ORIGINS: "https://me:hush@a" })).not.toContain("hush");
  expect(refusal({ ATLAS_ORIGINS: "*,https://a" })).toContain('ATLAS_ORIGINS has the entry "*"');
  expect(refusal({}, { origins: ["https://a", 5] as never })).toBe(
    "origins has the entry 5: use origins as browsers write them, such as https://app.example, " +
      "or * alone for all",
  );
  for (const given of [true, null, { a: 1 }] as never[]) {
    expect(refusal({}, { origins: given })).toMatch(
      /^origins is (true|null|\{"a":1\}): use origins/,
    );
  }
});
