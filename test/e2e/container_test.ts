/**
 * The container image, checked without a container engine: runs the Dockerfile's steps in empty
 * folders, with production dependencies only, and starts its command as its user. Also the files
 * that hosts read: fly.toml and compose.yaml.
 */
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { readSettings } from "../../adapters/config/environment.ts";
import { ROOT, RUNTIMES } from "../../scripts/runtimes.ts";
import { freePort } from "../support/ports.ts";
import { npmSettings } from "../support/npm_settings.ts";
import { redisMissing, startRedis, type TestRedis } from "../support/redis.ts";
import { ask, call, result } from "./calls.ts";
import { canBe, runImage } from "./container.ts";
import { baseImages, buildImage, type Image, parseDockerfile } from "./image.ts";
import { until } from "../support/until.ts";
import { endAll, type Program, readyLine } from "./process.ts";

const SECRET = "0123456789abcdef0123456789abcdef";
const TOKEN = "a-token-for-callers";
const AUTHORIZED = { authorization: `Bearer ${TOKEN}` };
const OWN_APP = `
import { defineApp, Resource } from "@atlas-edge/atlas";
class Counter extends Resource {
  #total = 0;
  add(n: number) { return this.#total += n; }
}
export default defineApp({ resources: { counters: Counter } });
`;
/** Npm's message if it can't reach the registry of packages. */
const NO_REGISTRY = /ENOTFOUND|ECONNREFUSED|ECONNRESET|ETIMEDOUT|EAI_AGAIN|ENETUNREACH|ENOTCACHED/;

const folder = mkdtempSync(join(tmpdir(), "atlas-image-"));
const binaries = join(folder, "bin");
const images = new Map<string, Image>();
let missing: string | null = null;
let umask: number;

/** Builds the image for each runtime, from one set of packages. */
beforeAll(() => {
  // Other users must be able to read it.
  umask = process.umask(0o022);
  chmodSync(folder, 0o755);
  mkdirSync(binaries);
  mkdirSync(join(folder, "tmp"));
  chmodSync(join(folder, "tmp"), 0o1777);
  for (const { name, run: [binary] } of RUNTIMES) {
    place(binary as string, join(binaries, name));
  }
  const env = {
    PATH: process.env["PATH"] ?? "",
    HOME: process.env["HOME"] ?? "/",
    ...npmSettings(),
    npm_config_prefer_offline: "true",
    npm_config_fetch_retries: "0",
    npm_config_fetch_timeout: "60000",
  };
  try {
    const built = new Map<string, Image>();
    for (const { name } of RUNTIMES) {
      images.set(name, buildImage({ context: ROOT, folder, args: { RUNTIME: name }, env, built }));
    }
  } catch (error) {
    if (!NO_REGISTRY.test(String((error as { stderr?: unknown }).stderr))) throw error;
    missing = "npm can't reach its registry, and its cache lacks the packages";
  }
}, 180_000);

afterEach(endAll);
afterAll(() => {
  process.umask(umask);
  rmSync(folder, { recursive: true, force: true });
});

/** A hard link if the file system allows it: the binaries are large. */
function place(binary: string, target: string): void {
  try {
    linkSync(realpathSync(binary), target);
  } catch {
    copyFileSync(binary, target);
    chmodSync(target, 0o755);
  }
}

/** Starts the image's own command. */
function start(image: Image, env: Record<string, string>): Program {
  // The machine's own /tmp is not the container's.
  const own = Object.entries(image.env).map(([name, value]) =>
    [name, value.replace(/^\/tmp\b/, join(folder, "tmp"))] as const
  );
  return runImage({ ...image, env: Object.fromEntries(own) }, { binaries, env });
}

/** The exit status of the image's own health check for the node on this port. */
function health(image: Image, env: Record<string, string>): Promise<number | string> {
  return runImage(image, { binaries, env, words: image.healthcheck }).ended;
}

/** The time limit of a test of an image, which starts several processes one after the other. */
const each = { timeout: 60_000 };

describe.each(RUNTIMES.map(({ name }) => name))("the image on %s", each, (runtime) => {
  test("holds what production needs and nothing that only development does", ({ skip }) => {
    if (missing) skip(missing);
    const app = `${images.get(runtime)?.root}/app`;
    const { dependencies, devDependencies } = JSON.parse(
      readFileSync(`${ROOT}package.json`, "utf8"),
    );
    const kept = (name: string) => existsSync(join(app, "node_modules", name));
    expect(Object.keys(dependencies).filter((name) => !kept(name))).toEqual([]);
    expect(Object.keys(devDependencies).filter(kept)).toEqual([]);
    for (const file of ["test", "dist", ".git", ".ci", "README.md"]) {
      expect([file, existsSync(join(app, file))]).toEqual([file, false]);
    }
  });

  test("starts as its own user, serves, is healthy, and drains on SIGTERM", async ({ skip }) => {
    if (missing) skip(missing);
    const image = images.get(runtime) as Image;
    const port = String(await freePort());
    const env = {
      PORT: port,
      ATLAS_HOST: "127.0.0.1",
      ATLAS_REGISTRY_URL: "memory:",
      ATLAS_SECRET: SECRET,
    };
    const node = start(image, env);
    const { url } = await readyLine(node);
    expect(await result(url, "channels/lobby", "send", ["ann", "hi"])).toMatchObject({ seq: 1 });
    expect(await health(image, env)).toBe(0);
    if (canBe(1000, binaries) && existsSync(`/proc/${node.pid}/status`)) {
      const status = readFileSync(`/proc/${node.pid}/status`, "utf8");
      expect(status).toMatch(/^Uid:\s+1000\s+1000\s+1000\s+1000$/m);
      expect(status).toMatch(/^Gid:\s+1000\s+1000\s+1000\s+1000$/m);
    }
    expect(image.stopSignal).toBe("SIGTERM");
    node.signal("SIGTERM");
    expect(await node.ended).toBe(0);
    expect(node.output.stderr).toContain("draining");
    expect(await health(image, env)).toBe(1);
  });

  test("names the missing variable if it has no registry or no secret", async ({ skip }) => {
    if (missing) skip(missing);
    const image = images.get(runtime) as Image;
    // As in the image, the node listens on all addresses.
    const open = start(image, { ATLAS_REGISTRY_URL: "memory:" });
    expect(await open.ended).toBe(2);
    expect(open.output.stderr).toMatch(/^atlas: ATLAS_SECRET is not set: .*\n$/);
    // A user who may write in every folder can create the default registry.
    if (!canBe(1000, binaries)) return;
    const lost = start(image, { ATLAS_HOST: "127.0.0.1", PORT: "0", ATLAS_SECRET: SECRET });
    expect(await lost.ended).toBe(2);
    expect(lost.output.stderr).toMatch(/^atlas: ATLAS_REGISTRY_URL is .*\n$/);
  });
});

// On Node the package's name leads to the output of `npm run build`, which the image lacks.
test.for(["bun", "deno"])(
  "an app beside the image's code imports Atlas by its name, on %s",
  async (runtime, { skip }) => {
    if (missing) skip(missing);
    const image = images.get(runtime) as Image;
    writeFileSync(`${image.root}/app/app.ts`, OWN_APP);
    const { url } = await readyLine(start(image, {
      PORT: String(await freePort()),
      ATLAS_HOST: "127.0.0.1",
      ATLAS_REGISTRY_URL: "memory:",
      ATLAS_APP: "app.ts",
    }));
    expect(await result(url, "counters/visits", "add", [1])).toBe(1);
  },
);

test("the base images have the versions that are tested here", () => {
  const instructions = parseDockerfile(readFileSync(`${ROOT}Dockerfile`, "utf8"));
  const { devDependencies } = JSON.parse(readFileSync(`${ROOT}package.json`, "utf8"));
  const node = devDependencies.node24.split("@").at(-1);
  expect(baseImages(instructions)).toEqual([
    `node:${node}-slim`,
    `oven/bun:${devDependencies.bun}-slim`,
    `denoland/deno:debian-${devDependencies.deno}`,
  ]);
});

/** A file in a format that Bun reads. */
function read(format: "YAML" | "TOML", file: string) {
  const script =
    `process.stdout.write(JSON.stringify(Bun.${format}.parse(await Bun.file("${file}").text())))`;
  const bun = `${ROOT}node_modules/.bin/bun`;
  return JSON.parse(execFileSync(bun, ["-e", script], { cwd: ROOT, encoding: "utf8" }));
}

describe("fly.toml", () => {
  const fly = read("TOML", "fly.toml");

  test("sets variables with which other nodes reach a node over Fly's private network", () => {
    const settings = readSettings({
      ...fly.env,
      ATLAS_SECRET: SECRET,
      FLY_REGION: "syd",
      FLY_MACHINE_ID: "3d8d9079b22989",
      FLY_PRIVATE_IP: "fdaa:0:22b7::2",
    });
    expect(settings).toMatchObject({
      host: "::",
      region: "syd",
      machine: "3d8d9079b22989",
      publicUrl: "http://[fdaa:0:22b7::2]:8080",
    });
    expect(fly.http_service.internal_port).toBe(settings.port);
  });

  test("stops a machine with a signal that drains the node, and never because of a lack of requests", () => {
    expect(fly.kill_signal).toBe("SIGTERM");
    expect(fly.http_service.auto_stop_machines).toBe("off");
    expect(existsSync(ROOT + fly.build.dockerfile)).toBe(true);
  });

  test("starts a node that answers its checks", async ({ skip }) => {
    if (missing) skip(missing);
    const port = String(await freePort());
    const env = { ...fly.env, PORT: port, ATLAS_HOST: "127.0.0.1", ATLAS_REGISTRY_URL: "memory:" };
    const { url } = await readyLine(start(images.get("bun") as Image, env));
    for (const { method, path } of fly.http_service.checks) {
      expect([path, (await ask(url, path, { method })).status]).toEqual([path, 200]);
    }
  });
});

test("no documented command starts a node beyond loopback without a token and a secret", () => {
  const deploy = readFileSync(`${ROOT}docs/deploy.md`, "utf8");
  const compose = readFileSync(`${ROOT}compose.yaml`, "utf8");
  const commands = [...deploy.matchAll(/```sh\n([^]*?)```/g)].map(([, text = ""]) => text);
  const starting = [...commands, compose].filter((text) =>
    /docker run|docker compose up|fly deploy/.test(text)
  );
  expect(starting).toHaveLength(4);
  for (const text of starting) {
    expect(text).toMatch(/ATLAS_TOKEN="?\$\(openssl rand/);
    expect(text).toMatch(/ATLAS_SECRET="?\$\(openssl rand/);
  }
});

describe("compose.yaml", () => {
  const { services, volumes } = read("YAML", "compose.yaml");
  const REGIONS = ["us-east-1", "eu-west-1", "ap-southeast-1"];

  test("gives each region a node and a Redis of its own, with health checks", () => {
    expect(Object.keys(services).sort())
      .toEqual(REGIONS.flatMap((region) => [`atlas-${region}`, `redis-${region}`]).sort());
    for (const region of REGIONS) {
      const [node, redis] = [services[`atlas-${region}`], services[`redis-${region}`]];
      expect(node.environment.ATLAS_REGION).toBe(region);
      expect(node.environment.ATLAS_REGISTRY_URL).toContain(`${region}=redis://redis-${region}:`);
      // Compose refuses to start if these variables aren't set.
      expect(node.environment.ATLAS_SECRET).toMatch(/^\$\{ATLAS_SECRET:\?.+\}$/);
      expect(node.environment.ATLAS_TOKEN).toMatch(/^\$\{ATLAS_TOKEN:\?.+\}$/);
      expect(node.depends_on).toEqual({ [`redis-${region}`]: { condition: "service_healthy" } });
      expect(node.build).toBe(".");
      expect(redis.healthcheck.test[0]).toBe("CMD");
      expect(Object.keys(volumes)).toContain(redis.volumes[0].split(":")[0]);
    }
    const urls = REGIONS.map((region) => services[`atlas-${region}`].ports).flat();
    expect(new Set(urls).size).toBe(REGIONS.length);
    const exposed = parseDockerfile(readFileSync(`${ROOT}Dockerfile`, "utf8"))
      .find(({ name }) => name === "EXPOSE")?.text;
    expect(urls.every((url) => url.startsWith("127.0.0.1:") && url.endsWith(`:${exposed}`)))
      .toBe(true);
  });

  describe("started as it says, on this machine's ports", () => {
    const redises = new Map<string, TestRedis>();
    afterEach(async () => {
      await Promise.all([...redises.values()].map((redis) => redis.close()));
      redises.clear();
    });

    test(
      "finds one owner from three regions, and drains",
      { timeout: 60_000 },
      async ({ skip }) => {
        if (missing) skip(missing);
        if (redisMissing) skip(redisMissing);
        for (const region of REGIONS) {
          const [program, ...args] = services[`redis-${region}`].command;
          expect(program).toBe("redis-server");
          redises.set(`redis-${region}:6379`, await startRedis({ args }));
        }
        const here = (text: string) =>
          text.replace(/redis-[\w-]+:6379/g, (name) => `127.0.0.1:${redises.get(name)?.port}`)
            .replace(/^\$\{ATLAS_SECRET:.*\}$/, SECRET).replace(/^\$\{ATLAS_TOKEN:.*\}$/, TOKEN)
            .replace(/^\$\{\w+:-\}$/, "");
        const nodes = await Promise.all(REGIONS.map(async (region) => {
          const entries: [string, string][] = Object.entries(
            services[`atlas-${region}`].environment,
          );
          const env = Object.fromEntries(entries.map(([name, value]) => [name, here(value)]));
          const port = String(await freePort());
          return start(images.get("bun") as Image, { ...env, PORT: port, ATLAS_HOST: "127.0.0.1" });
        }));
        const lines = await Promise.all(nodes.map((node) => readyLine(node)));
        expect(lines.map(({ region }) => region)).toEqual(REGIONS);
        await until(async () => {
          const known = await Promise.all(
            lines.map(({ url }) => ask(url, "/v1/nodes", { headers: AUTHORIZED })),
          );
          return known.every(({ body }) => body.nodes?.length === REGIONS.length);
        }, "each region knows the others");
        const seqs = [];
        for (const { url } of lines) {
          expect((await call(url, "channels/lobby", "send", ["eve", "hi"])).status).toBe(401);
          const settings = { headers: AUTHORIZED };
          const args = ["ann", "hi"];
          seqs.push(
            (await result<{ seq: number }>(url, "channels/lobby", "send", args, settings)).seq,
          );
        }
        expect(seqs).toEqual([1, 2, 3]);
        for (const node of nodes) node.signal("SIGTERM");
        expect(await Promise.all(nodes.map(({ ended }) => ended))).toEqual([0, 0, 0]);
      },
    );
  });
});
