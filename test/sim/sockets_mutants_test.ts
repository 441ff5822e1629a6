/** Known mistakes with events, planted in a copy: simulated listeners hear each of them. */
import { spawnSync } from "node:child_process";
import { cpSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { expect, test } from "vitest";
import type { Edit } from "../../sim/schedule.ts";
import { applyEdit, ROOT, withCopy } from "./copy.ts";

const AUDIENCE = "src/resource/audience.ts";
const ACTIVATION = "src/resource/activation.ts";

const MUTANTS: Readonly<Record<string, Edit>> = {
  "numbers are not reserved: the next owner gives them again": {
    file: AUDIENCE,
    find: "this.#of.book.storage.reserve(BOUND, String(this.#promised));",
    replace: "",
  },
  "events go out before the commit": {
    file: ACTIVATION,
    find: "        if (this.hall?.hasNews) await this.hall.seal();\n        isAtUser",
    replace: "        if (this.hall?.hasNews) {\n          await this.hall.seal();\n" +
      "          this.hall.publish();\n        }\n        isAtUser",
  },
  "what a failed turn said goes out with the next one's": {
    file: ACTIVATION,
    find: "    this.hall?.drop();\n",
    replace: "",
  },
  "what was said before a socket came back is not sent": {
    file: "src/door/party.ts",
    find: "if (back.length === 0) return [];",
    replace: "if (back.length >= 0) return [];",
  },
  "what passes by while a socket is being joined is forgotten": {
    file: "src/door/seat.ts",
    find: "for (const event of passed) this.tell(event);",
    replace: "",
  },
};

const SEEDS = 60;

/** What broke first in a copy of the sources, with an edit or without. */
function brokenBy(edit: Edit | null, seeds: number): Promise<string> {
  return withCopy((folder) => {
    if (edit) applyEdit(edit, folder);
    for (const file of ["test/sim/sockets.ts", "test/sim/fixtures/socket_seeds.ts"]) {
      cpSync(join(ROOT, file), join(folder, file));
    }
    const head = "Deno" in globalThis ? ["run", "-A"] : [];
    const words = [...head, "test/sim/fixtures/socket_seeds.ts", String(seeds)];
    const { stdout, stderr } = spawnSync(process.execPath, words, { cwd: folder });
    return /^broken (.*)$/m.exec(String(stdout))?.[1] ?? String(stderr);
  });
}

for (const [about, edit] of Object.entries(MUTANTS)) {
  test(about, async () => {
    expect(await brokenBy(edit, SEEDS)).toMatch(/^events: /);
  }, 300_000);
}

test("nothing breaks in a copy as it is", async () => {
  expect(await brokenBy(null, 10)).toBe("nothing");
}, 300_000);
