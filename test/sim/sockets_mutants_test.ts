/** Known mistakes with events and connections, planted in a copy: simulated clients catch each. */
import { spawnSync } from "node:child_process";
import { cpSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { expect, test } from "vitest";
import type { Edit } from "../../sim/draw/schedule.ts";
import { ROOT, withCopy } from "../../sim/mutants/copy.ts";

const BROADCASTER = "src/events/broadcaster.ts";
const ACTIVATION = "src/resource/activation.ts";

const RECORDS = "src/events/connection_records.ts";
const SESSION = "src/sockets/client_session.ts";
const SUBSCRIPTION = "src/sockets/subscription.ts";

const EVENT_MUTANTS: Readonly<Record<string, Edit>> = {
  "numbers are not reserved: the next owner repeats them": {
    file: BROADCASTER,
    find: "storage.reserve(BOUND, String(this.#reserved));",
    replace: "",
  },
  "events go out before the commit": {
    file: ACTIVATION,
    find: "await this.#broadcaster.reserveNumbers();\n      isAtUser = false;",
    replace: "await this.#broadcaster.reserveNumbers();\n" +
      "      if (this.#broadcaster?.hasPending) this.#broadcaster.flush();\n      isAtUser = false;",
  },
  "events of a failed turn are sent with the next turn's": {
    file: ACTIVATION,
    find: "    this.#broadcaster?.drop();\n",
    replace: "",
  },
  "events from before a socket was resumed are not sent": {
    file: SUBSCRIPTION,
    find: "if (back.length === 0) return [];",
    replace: "if (back.length >= 0) return [];",
  },
  "events during a join are dropped": {
    file: SESSION,
    find: "for (const event of passed) this.send(event);",
    replace: "",
  },
};

const END_MUTANTS: Readonly<Record<string, Edit>> = {
  "messages that wait as their socket closes are dropped": {
    file: SESSION,
    find: 'this.#waiting = this.#waiting.filter(({ frame }) => frame.t === "message");',
    replace: "this.#waiting = [];",
  },
  "a session ends when its socket closes, though messages wait": {
    file: SESSION,
    find: "if (this.isClosed && !this.#isDelivering && this.#waiting.length === 0) this.giveUp();",
    replace: "if (this.isClosed) this.giveUp();",
  },
  "messages have no numbers: repeated ones are delivered again": {
    file: "src/routing/subscription_calls.ts",
    find: "<= connection.lastMessage",
    replace: "< 0",
  },
  "messages of a socket are delivered concurrently with earlier ones": {
    file: "src/routing/subscription_calls.ts",
    find: "connection.delivering.then(run)",
    replace: "run()",
  },
  "no record is kept of a connection": {
    file: RECORDS,
    find: "this.#parts.storage().reserve(SPACE + id, JSON.stringify({ life }));",
    replace: "",
  },
  "an owner doesn't read the connections of the former owner": {
    file: RECORDS,
    find: "        this.#absent.set(id, { life, since });\n",
    replace: "",
  },
  "a record stays after its connection's end": {
    file: RECORDS,
    find: "if (this.#lives.has(id)) this.#parts.storage().reserve(SPACE + id, null);",
    replace: "",
  },
  "absent connections of a live node are awaited without end": {
    file: RECORDS,
    find: "if (now - since > SUBSCRIBER_TIMEOUT_MS || isDead(life)) void this.miss(id);",
    replace: "if (isDead(life)) void this.miss(id);",
  },
  "a socket that closes during its join is not reported": {
    file: SUBSCRIPTION,
    find: "          session.isKnown = true;\n",
    replace: "",
  },
};

const STAY_MUTANTS: Readonly<Record<string, Edit>> = {
  "connections of a node that can't reach the store are dropped, though it polls for events": {
    file: "src/events/subscriber.ts",
    find: "(isDead && !this.isSettled && silentMs > SUBSCRIBER_SWEEP_MS)",
    replace: "isDead",
  },
};

const SILENCE_MUTANTS: Readonly<Record<string, Edit>> = {
  "a node sends no pings": {
    file: SESSION,
    find: 'if (this.resumed) this.#send({ t: "ping" });',
    replace: "",
  },
};

const SEEDS = 60;
const FILES = ["sockets.ts", "socket_listener.ts", "fixtures/socket_seeds.ts"].map((name) =>
  `test/sim/${name}`
);

/** The first violation in a copy of the sources, with an edit or without. */
function brokenBy(edit: Edit | null, seeds: number): Promise<string> {
  return withCopy("sockets", edit ? [edit] : [], (folder) => {
    for (const file of FILES) {
      cpSync(join(ROOT, file), join(folder, file));
    }
    const head = "Deno" in globalThis ? ["run", "-A"] : [];
    const words = [...head, "test/sim/fixtures/socket_seeds.ts", String(seeds)];
    const { stdout, stderr } = spawnSync(process.execPath, words, { cwd: folder });
    return /^broken (.*)$/m.exec(String(stdout))?.[1] ?? String(stderr);
  });
}

const ALL: readonly (readonly [Readonly<Record<string, Edit>>, RegExp])[] = [
  [EVENT_MUTANTS, /^events: /],
  [END_MUTANTS, /^ends: /],
  [STAY_MUTANTS, /^ends: the end of .* was told, which stands/],
  [SILENCE_MUTANTS, /^ends: .* heard nothing for/],
];
for (const [mutants, broken] of ALL) {
  for (const [about, edit] of Object.entries(mutants)) {
    test(about, async () => {
      expect(await brokenBy(edit, SEEDS)).toMatch(broken);
    }, 300_000);
  }
}

test("no rule is broken in an unchanged copy", async () => {
  expect(await brokenBy(null, 10)).toBe("nothing");
}, 300_000);
