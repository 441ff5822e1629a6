/**
 * Registries over TLS: a Redis, one behind a sentinel and a cluster, each at an IP address, with
 * the operator's own certificate authority.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { freePort } from "../support/ports.ts";
import { startRedis } from "../support/redis.ts";
import { startSentinels } from "../support/redis_groups.ts";
import { makeAuthority, type TestAuthority, tlsArguments, tlsMissing } from "../support/tls.ts";
import { result } from "./calls.ts";
import { endAll, runScript, type RuntimeName, startNode } from "./process.ts";
import { unless } from "../support/unless.ts";

const cleanups: (() => unknown)[] = [];
let authority: TestAuthority;
/** URLs by their server; `stranger` has a certificate for another name. */
const urls: Record<string, string> = {};

if (tlsMissing !== null) console.warn(`skipped: registries by TLS: ${tlsMissing}`);

beforeAll(async () => {
  if (tlsMissing !== null) return;
  authority = makeAuthority();
  cleanups.push(() => authority.close());
  const tls = authority.certify("IP:127.0.0.1");
  const started = async (of: typeof tls, cluster = false): Promise<string> => {
    const port = await freePort();
    const redis = await startRedis({ cluster, args: tlsArguments(port, of) });
    cleanups.push(() => redis.close());
    return `${cluster ? "rediss+cluster" : "rediss"}://127.0.0.1:${port}`;
  };
  urls["a Redis"] = await started(tls);
  urls["a cluster"] = await started(tls, true);
  urls["stranger"] = await started(authority.certify("DNS:redis.example"));
  const group = await startSentinels({ sentinels: 1, replicas: 0, tls });
  cleanups.push(() => group.close());
  urls["a sentinel's master"] = group.url;
}, 60_000);

afterAll(async () => {
  await endAll();
  for (const cleanup of cleanups.reverse()) await cleanup();
});

describe.each<RuntimeName>(["bun", "deno", "node"])(
  "registries over TLS on %s",
  { timeout: 60_000, ...unless(tlsMissing) },
  (runtime) => {
    const start = (url: string | undefined, env: Record<string, string> = {}) =>
      runScript(runtime, "node.ts", { PORT: "0", ATLAS_REGISTRY_URL: url as string, ...env });

    test.each(["a Redis", "a sentinel's master", "a cluster"])(
      "a node serves on %s",
      async (name) => {
        const env = {
          ATLAS_REGISTRY_URL: urls[name] as string,
          NODE_EXTRA_CA_CERTS: authority.file,
        };
        const node = await startNode({ runtime, env });
        const sent = await result(node.url, `channels/of-${runtime}`, "send", ["ann", "hi"]);
        expect(sent).toMatchObject({ seq: 1 });
        expect(node.output.stderr).not.toContain("Warning");
        await node.kill();
      },
    );

    test("a certificate for another name, or of an unknown authority, is named in the error", async () => {
      const stranger = start(urls["stranger"], { NODE_EXTRA_CA_CERTS: authority.file });
      const unknown = start(urls["a Redis"]);
      expect(await Promise.all([stranger.ended, unknown.ended])).toEqual([2, 2]);
      expect(stranger.output.stderr).toContain("does not match certificate's altnames");
      expect(unknown.output.stderr).toMatch(/certificate|UnknownIssuer/);
      for (const { output } of [stranger, unknown]) {
        expect(output.stderr.trimEnd().split("\n")).toHaveLength(1);
        expect(output.stderr).toContain("ATLAS_REGISTRY_URL is");
      }
    });

    test("atlas race runs over TLS", async () => {
      const words = ["race", "--registry", urls["a Redis"] as string, "--trials", "3", "--json"];
      const race = runScript(runtime, "cli.ts", { NODE_EXTRA_CA_CERTS: authority.file }, words);
      expect([await race.ended, race.output.stderr]).toEqual([0, ""]);
    });
  },
);
