/**
 * Covers src/api/app.ts and src/api/module.ts: which apps are invalid, and how the error names the
 * reason.
 */
import { expect, test } from "vitest";
import { defineApp, resolveTypes } from "../../src/api/app.ts";
import { defineModule } from "../../src/api/module.ts";
import { Resource } from "../../src/api/resource.ts";
import { quoted } from "../../src/model/options.ts";

class Room extends Resource {}
const resources = { rooms: Room };
const type = (settings: object) => ({ resources: { rooms: { class: Room, ...settings } } });

test.each<[app: unknown, part: string]>([
  [undefined, "an app needs resources: { <type>: <class> }, or modules"],
  [{}, "an app needs resources"],
  [{ resources: null }, "an app needs resources"],
  [{ resources: [Room] }, "an app needs resources"],
  [{ modules: null }, "an app's modules must be"],
  [{ modules: 5 }, "an app's modules must be"],
  [{ resources, policies: [] }, "an app's policies must be"],
  [{ resources, policies: { "rrp:eu/": 5 } }, "policy rrp:eu/ must be a resource type's settings"],
  [
    { resources, policies: { "rrp:eu/": { idleAfter: 5 } } },
    'policy rrp:eu/: there is no setting "idleAfter"; there are: idleAfterMs, mailbox',
  ],
  [
    { resources, policies: { "rrp:eu/": { mailbox: 0 } } },
    "policy rrp:eu/: mailbox is 0, it must be a number of at least 1",
  ],
  [type({ idleAfter: 5 }), 'resource type rooms: there is no setting "idleAfter"'],
  [type({ constructor: 5 }), 'resource type rooms: there is no setting "constructor"'],
  [type({ mailbox: "9" }), 'resource type rooms: mailbox is "9", it must be a number'],
  [type({ mailbox: 9n }), "resource type rooms: mailbox is 9n"],
  [type({ placement: 5n }), "resource type rooms: placement is 5n, it must be local, region"],
  [type({ placement: "here" }), 'resource type rooms: placement is "here"'],
  [type({ placement: { prefer: "x" } }), 'resource type rooms: placement is {"prefer":"x"}'],
  [type({ partition: 5n }), "resource type rooms: partition is 5n, it must be fence or available"],
  [type({ reentrant: "no" }), 'resource type rooms: reentrant is "no", it must be true or false'],
])("app %# is refused by name: %s", (app, part) => {
  expect(() => defineApp(app as Parameters<typeof defineApp>[0])).toThrow(
    expect.objectContaining({ code: "bad_request", message: expect.stringContaining(part) }),
  );
});

test("the placement `prefer caller` is another name for `caller`", () => {
  const rooms = { class: Room, placement: "prefer caller" } as const;
  expect(resolveTypes(defineApp({ resources: { rooms } })).get("rooms")?.placement).toBe("caller");
});

test("an app's modules are kept as they were given", () => {
  const calc = defineModule({ functions: { pi: () => "3.14" } });
  expect(defineApp({ modules: { calc } }).modules.calc).toBe(calc);
  expect(defineApp({ resources }).modules).toEqual({});
});

test("an invalid setting of a policy is found also without resource types", () => {
  const app = { modules: {}, policies: { "rrp:": { placement: "x" } } };
  expect(() => defineApp(app as never)).toThrow(/^policy rrp:: placement is "x"/);
});

test("any value can be quoted in an error", () => {
  const round: { self?: unknown } = {};
  round.self = round;
  const values = [5n, undefined, null, Symbol("s"), () => 1, round, "x".repeat(100), [5n]];
  expect(values.map(quoted)).toEqual([
    "5n",
    "undefined",
    "null",
    "Symbol(s)",
    "a function",
    "an object",
    `"${"x".repeat(78)}…`,
    "an object",
  ]);
});
