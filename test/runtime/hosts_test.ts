/**
 * Settings that a node takes from its container host: each host's variables, which of them Atlas's
 * own override, and the error of a bad one.
 */
import { describe, expect, test } from "vitest";
import { readSettings } from "../../adapters/config/environment.ts";
import { hostMachine } from "../../adapters/config/host_variables.ts";
import { defaultNodeName } from "../../adapters/config/hosts.ts";

const SECRET = "0123456789abcdef0123456789abcdef";
/** The variables that every container deployment of Atlas sets. */
const COMMON = { ATLAS_HOST: "::", ATLAS_SECRET: SECRET };

interface Row {
  host: string;
  env: Record<string, string>;
  region: string;
  node: string | RegExp | undefined;
  publicUrl: string | undefined;
}

const HOSTS: readonly Row[] = [
  {
    host: "Fly",
    env: {
      FLY_APP_NAME: "atlas",
      FLY_REGION: "ams",
      FLY_MACHINE_ID: "3d8d9079b22989",
      FLY_PRIVATE_IP: "fdaa:0:22b7:a7b:ab8:4bd4:2b3c:2",
      HOSTNAME: "3d8d9079b22989",
    },
    region: "ams",
    node: "atlas@3d8d9079b22989-8080",
    publicUrl: "http://[fdaa:0:22b7:a7b:ab8:4bd4:2b3c:2]:8080",
  },
  {
    host: "Railway, private network",
    env: {
      RAILWAY_REPLICA_REGION: "europe-west4-drams3a",
      RAILWAY_REPLICA_ID: "8f5b1b0e-6a35-4e2c-9d2a-6f2c7b1f0a11",
      RAILWAY_PRIVATE_DOMAIN: "atlas.railway.internal",
      RAILWAY_PUBLIC_DOMAIN: "atlas.up.railway.app",
      PORT: "3000",
    },
    region: "europe-west4-drams3a",
    node: "atlas@8f5b1b0e-6a35-4e2c-9d2a-6f2c7b1f0a11-3000",
    publicUrl: "http://atlas.railway.internal:3000",
  },
  {
    host: "Railway, public network only",
    env: { RAILWAY_REPLICA_REGION: "us-west2", RAILWAY_PUBLIC_DOMAIN: "atlas.up.railway.app" },
    region: "us-west2",
    node: undefined,
    publicUrl: "https://atlas.up.railway.app",
  },
  {
    host: "Render",
    env: { RENDER: "true", RENDER_INSTANCE_ID: "srv-c0ffee-7d9f-x2x4z", PORT: "10000" },
    region: "local",
    node: "atlas@srv-c0ffee-7d9f-x2x4z-10000",
    publicUrl: undefined,
  },
  {
    host: "Cloud Run",
    env: { K_SERVICE: "atlas", K_REVISION: "atlas-00007-abc", HOSTNAME: "localhost" },
    region: "local",
    node: /^atlas@atlas-00007-abc-[0-9a-f]{8}-8080$/,
    publicUrl: undefined,
  },
  {
    host: "Heroku, private space",
    env: { DYNO: "web.1", HEROKU_PRIVATE_IP: "10.1.2.3", PORT: "5123" },
    region: "local",
    node: /^atlas@web\.1-[0-9a-f]{8}-5123$/,
    publicUrl: "http://10.1.2.3:5123",
  },
  {
    host: "Heroku with dyno metadata",
    env: { DYNO: "web.1", HEROKU_DYNO_ID: "1vac4117-c29f-4312-521e-ba4d8638c1ac" },
    region: "local",
    node: "atlas@1vac4117-c29f-4312-521e-ba4d8638c1ac-8080",
    publicUrl: undefined,
  },
  {
    host: "Kubernetes, Docker",
    env: { HOSTNAME: "atlas-7c9d8b6f5-x2x4z" },
    region: "local",
    node: "atlas@atlas-7c9d8b6f5-x2x4z-8080",
    publicUrl: undefined,
  },
  {
    host: "anywhere, HOSTNAME used as an address to listen on",
    env: { HOSTNAME: "0.0.0.0" },
    region: "local",
    node: undefined,
    publicUrl: undefined,
  },
];

/** The error's message for a set of variables. */
function refusal(env: Record<string, string>): string {
  try {
    readSettings(env);
  } catch (error) {
    expect(error).toMatchObject({ name: "AtlasError", code: "bad_request" });
    return (error as Error).message;
  }
  throw new Error(`not refused: ${JSON.stringify(env)}`);
}

describe.each(HOSTS)("$host", ({ env, region, node, publicUrl }) => {
  test("gives a node its region, name and address", () => {
    const { machine, port, ...settings } = readSettings({ ...COMMON, ...env });
    expect(settings).toMatchObject({ region, node: undefined, publicUrl });
    const name = machine && defaultNodeName(port, machine);
    if (node instanceof RegExp) expect(name).toMatch(node);
    else expect(name).toBe(node);
  });

  test("yields to Atlas's own variables", () => {
    const own = {
      ATLAS_REGION: "eu",
      ATLAS_NODE: "hop@node-1",
      ATLAS_PUBLIC_URL: "https://node-1.example",
    };
    expect(readSettings({ ...COMMON, ...env, ...own })).toMatchObject({
      region: "eu",
      node: "hop@node-1",
      publicUrl: "https://node-1.example",
    });
  });

  test("needs the secret like any other node", () => {
    expect(refusal({ ATLAS_HOST: "::", ...env })).toMatch(/^ATLAS_SECRET is not set.*32 bytes/);
  });
});

test.each([
  ["K_REVISION", "atlas-00007-abc"],
  ["DYNO", "web.1"],
])(
  "two machines with one %s have two names; Atlas's own variable is taken as it is",
  (name, text) => {
    const env = { ...COMMON, [name]: text };
    const [one, other] = [readSettings(env).machine, readSettings(env).machine];
    expect(one).toMatch(new RegExp(`^${text}-`));
    expect(one).not.toBe(other);
    expect(readSettings({ ...env, ATLAS_NODE: "web" }).node).toBe("web");
    const uuid = () => "0a1b2c3d-0000-4000-8000-000000000000";
    expect(hostMachine(env, { uuid })).toBe(`${text}-0a1b2c3d`);
  },
);

test("the host's address is not used for a node that listens on loopback, or on any port", () => {
  const fly = HOSTS[0]?.env ?? {};
  expect(readSettings(fly)).toMatchObject({ region: "ams", publicUrl: undefined });
  expect(readSettings({ ...COMMON, ...fly, PORT: "0" }))
    .toMatchObject({ machine: fly["FLY_MACHINE_ID"], publicUrl: undefined });
});

test("an empty variable counts as not set", () => {
  expect(readSettings({ ...COMMON, FLY_REGION: "", RAILWAY_REPLICA_REGION: "us-west2" }).region)
    .toBe("us-west2");
});

test.each([
  ["FLY_REGION", "a/b"],
  ["RAILWAY_REPLICA_REGION", "us west"],
  ["FLY_PRIVATE_IP", "fdaa::1 and more"],
  ["FLY_PRIVATE_IP", "fdaa:::1"],
  ["RAILWAY_PRIVATE_DOMAIN", "http://atlas.railway.internal"],
  ["RAILWAY_PUBLIC_DOMAIN", "user@atlas.example"],
  ["HEROKU_PRIVATE_IP", "10.0.0.1/8"],
])("a bad %s, %s, is refused by name and value", (variable, value) => {
  const message = refusal({ ...COMMON, [variable]: value });
  expect(message).toMatch(new RegExp(`^${variable} is `));
  expect(message).toContain(value);
});

test("machine names that differ only at the end give different node names", () => {
  const long = "x".repeat(90);
  const [one, other] = [defaultNodeName(8080, `${long}-1`), defaultNodeName(8080, `${long}-2`)];
  expect(one).toMatch(/^atlas@x+~[0-9a-f]{8}-8080$/);
  expect(one).toHaveLength(64);
  expect(one).not.toBe(other);
});
