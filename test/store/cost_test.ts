/**
 * The steps that an idle node takes in a day, as in docs/redis.md: counted over 24 virtual hours.
 */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { defineApp, memoryStore, Resource, type Store } from "../../mod.ts";
import { testNode } from "../../testing.ts";
import { freshMember } from "../conformance/store_kit.ts";
import { redisMissing, warnIfRedisMissing } from "../support/redis.ts";
import { unless } from "../support/unless.ts";
import { setUpStore } from "../upstash/store_setup.ts";

const DAY_MS = 86_400_000;
const DOCS = readFileSync(new URL("../../docs/redis.md", import.meta.url), "utf8");

class Room extends Resource {}
const app = defineApp({ resources: { rooms: Room } });

/** A store that counts its steps. */
function counting(inner: Store): { store: Store; steps: Map<string, number> } {
  const steps = new Map<string, number>();
  const store = new Proxy(inner, {
    get(target, name) {
      const value = Reflect.get(target, name);
      if (typeof value !== "function" || name === "status") return value;
      return (...args: unknown[]) => {
        steps.set(String(name), (steps.get(String(name)) ?? 0) + 1);
        return value.apply(target, args);
      };
    },
  });
  return { store, steps };
}

test.each(["fast", "standard", "frugal"] as const)(
  "an idle node with the lease %s takes as many steps a day as the docs say",
  async (lease) => {
    const { store, steps } = counting(memoryStore());
    const { clock, close } = await testNode(app, { store, lease });
    steps.clear();
    await clock.advance(DAY_MS);
    const documented = new RegExp(`^\\| \`${lease}\` \\| ([\\d,]+) \\|`, "m").exec(DOCS)?.[1];
    expect(Object.fromEntries(steps)).toEqual({ renew: Number(documented?.replaceAll(",", "")) });
    await close();
  },
);

warnIfRedisMissing("what a step costs over HTTP");

describe("over HTTP", unless(redisMissing), () => {
  test("a renewal is one command", async () => {
    const { server, store } = await setUpStore();
    const member = freshMember();
    await store.register(member, { ifFree: true });
    const commands = () =>
      server.requests.reduce((sum, { body }) => sum + (JSON.parse(body) as unknown[]).length, 0);
    const before = commands();
    for (let seq = 1; seq <= 3; seq++) await store.renew(member.incarnation, seq, []);
    expect(commands() - before).toBe(3);
  });
});
