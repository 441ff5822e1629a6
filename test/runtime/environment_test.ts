/** A node's settings: what is allowed, what is refused, and how each refusal reads. */
import { expect, test } from "vitest";
import {
  maskIn,
  maskUrl,
  readLogLevel,
  readSettings,
  type Settings,
} from "../../adapters/runtime/environment.ts";
import { defaultNodeName, urlOf, urlOfLink } from "../../adapters/runtime/hosts.ts";

const SECRET = "0123456789abcdef0123456789abcdef";

/** The message that a set of variables is refused with. */
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
  });
  expect(readLogLevel({})).toBe("info");
});

test("a variable that is set to nothing counts as not set", () => {
  expect(readSettings({ PORT: "", ATLAS_REGION: " ", ATLAS_LEASE: "" })).toEqual(readSettings({}));
});

test("what a program gives comes before the environment", () => {
  const env = { PORT: "1", ATLAS_REGION: "a", ATLAS_LEASE: "fast" };
  const lease = { heartbeatMs: 100, leaseMs: 300 };
  const settings = readSettings(env, { port: 0, region: "b", lease });
  expect(settings).toMatchObject({ port: 0, region: "b", lease });
});

test("a registry by region is checked URL by URL", () => {
  const registry = "us=redis://u:hunter2@h,eu=https://h2";
  const message = refusal({ ATLAS_REGISTRY_URL: registry });
  expect(message).toContain("ATLAS_REGISTRY_TOKEN is not set");
  const settings = readSettings({ ATLAS_REGISTRY_URL: registry, ATLAS_REGISTRY_TOKEN: "r3st" });
  expect(settings.registry).toBe(registry);
  const bad = refusal({ ATLAS_REGISTRY_URL: "us=redis://u:hunter2@h,eu=ftp://h2" });
  expect(bad).toContain("<region>=<URL>");
  expect(bad).not.toContain("hunter2");
  expect(refusal({ ATLAS_REGISTRY_URL: "us=memory:,us=memory:" })).toContain("twice");
  expect(maskIn("can't log in with hunter2", registry)).not.toContain("hunter2");
});

test("all variables together", () => {
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
  });
  expect(settings).toEqual({
    registryToken: "r3st",
    gateways: {},
    region: "us-east-1",
    node: "hop@node-1",
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
  ["ATLAS_REGISTRY_URL", "us-east-1=redis://a,eu-west-1=ftp://b"],
  ["ATLAS_REGISTRY_URL", "postgres://x"],
  ["ATLAS_REGISTRY_URL", "file:"],
  ["ATLAS_HOST", "http://x"],
  ["PORT", "80a"],
  ["PORT", "65536"],
  ["PORT", "-1"],
  ["ATLAS_PUBLIC_URL", "ftp://x"],
  ["ATLAS_PUBLIC_URL", "https://x/?a=b"],
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

test("an option is refused under its own name", () => {
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

test("a secret or token that can't be is refused without being quoted", () => {
  expect(refusal({ ATLAS_SECRET: "a,b,hunter2" })).not.toContain("hunter2");
  expect(refusal({ ATLAS_SECRET: "hunter2," })).not.toContain("hunter2");
  const token = refusal({ ATLAS_TOKEN: "hunter2 and more" });
  expect(token).toContain("ATLAS_TOKEN");
  expect(token).not.toContain("hunter2");
});

test("a registry by HTTP needs its token, in clear text on loopback only", () => {
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

test("passwords in URLs are struck out", () => {
  expect(maskUrl("redis://:s3cret@host:1/0")).toBe("redis://:***@host:1/0");
  expect(maskUrl("redis://me:s3cret@host")).toBe("redis://me:***@host");
  expect(maskUrl("redis://host?password=s3cret&a=1")).toBe("redis://host?password=***&a=1");
  expect(maskUrl("file:.atlas/registry.db")).toBe("file:.atlas/registry.db");
  const url = "redis://:s3%21cret@host:1/0";
  expect(maskIn(`can't reach ${url}: s3!cret is wrong`, url)).not.toMatch(/s3(?:%21|!)cret/);
  expect(refusal({ ATLAS_REGISTRY_URL: "mysql://me:hunter2@host" })).not.toContain("hunter2");
});

test("a node's name comes from its machine, cleaned and cut", () => {
  expect(defaultNodeName(8080, "web-1.example")).toBe("atlas@web-1.example-8080");
  expect(defaultNodeName(8080, "Jo's Mac/é")).toBe("atlas@Jo-s-Mac--8080");
  expect(defaultNodeName(65_535, "h".repeat(100))).toHaveLength(64);
  expect(defaultNodeName(1, "")).toBe("atlas@localhost-1");
});

test("addresses are derived from where a node listens, and back", () => {
  expect(urlOf("127.0.0.1", 8080)).toBe("http://127.0.0.1:8080");
  expect(urlOf("::1", 8080)).toBe("http://[::1]:8080");
  expect(urlOf("0.0.0.0", 8080)).toMatch(/^http:\/\/(?!0\.0\.0\.0)[^/]+:8080$/);
  expect(urlOfLink("wss://a.example/x/atlas/link")).toBe("https://a.example/x");
  for (const address of ["in-process:1", "ws://169.254.169.254/atlas/link", "ws://a.example/x"]) {
    expect(() => urlOfLink(address)).toThrow(/may not be dialled/);
  }
});

test("gateways are listed by region, and dialled as links", () => {
  const list = "eu-west-1=https://a, eu-west-1=https://b:8443/x,us-east-1=http://127.0.0.1:1,";
  const gateways = {
    "eu-west-1": ["wss://a/atlas/link", "wss://b:8443/x/atlas/link"],
    "us-east-1": ["ws://127.0.0.1:1/atlas/link"],
  };
  expect(readSettings({ ATLAS_GATEWAYS: list }).gateways).toEqual(gateways);
  expect(readSettings({}, { gateways: list }).gateways).toEqual(gateways);
  expect(readSettings({}, { gateways: { eu: ["https://a", "https://a"] } }).gateways)
    .toEqual({ eu: ["wss://a/atlas/link"] });
  const many = Array.from({ length: 17 }, (_, i) => `eu=https://${i}`).join(",");
  expect(refusal({ ATLAS_GATEWAYS: many })).toContain("more than 16 gateways of region eu");
  expect(refusal({ ATLAS_GATEWAYS: "eu=https://me:hush@a" })).not.toContain("hush");
});
