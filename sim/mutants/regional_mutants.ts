/**
 * Mutants of moves between regions: wrong forwarding addresses, and state that is moved twice or
 * incompletely.
 */
import type { Mutant } from "./mutant.ts";

const KEYS = "adapters/store/regional/ownership.ts";
const ENTRIES = "adapters/store/regional/entries.ts";
const MIGRATION = "src/routing/migration.ts";
const IMPORT = "adapters/store/regional/state_import.ts";
const ADDRESSES = "adapters/store/regional/forwarding_repair.ts";
const RECEIPTS = "adapters/store/regional/ownership.ts";

export const REGIONAL_MUTANTS: readonly Mutant[] = [
  {
    name: "unfenced_departure",
    about: "A departure is a release and then a forwarding address, which overwrites any owner.",
    world: "regions",
    scenario: "late_departure",
    edits: [{
      file: KEYS,
      find: "    const claim = departure(key, owner, { to: region, from: this.#self, at });",
      replace: `    const { incarnation, epoch } = owner;
    if (!await this.#own((store) => store.release(key, incarnation, epoch))) return false;
    const expected = await this.#own((store) => store.lookup(key));
    const address = { to: region, from: this.#self, at };
    const claim = { ...departure(key, owner, address), expected };`,
    }],
  },
  {
    name: "carried_unsigned",
    about: "A node that takes a moved key imports its state without signing for it, so that " +
      "the old home may take it back.",
    world: "regions",
    edits: [{
      file: KEYS,
      find: "if (await this.#stores.at(move.from, (store) => sign(store, key, move))) {",
      replace: "if (sign.length > 0) {",
    }],
  },
  {
    name: "taken_back_after_receipt",
    about: "A departure is struck out, even if another node has signed for the key.",
    world: "regions",
    edits: [{
      file: RECEIPTS,
      find: "if (entry.isSigned) {",
      replace: "if (pointer.to === key) {",
    }],
  },
  {
    name: "moved_while_open",
    about: "A key departs before its owner has closed the resource.",
    world: "regions",
    edits: [
      {
        file: MIGRATION,
        find: "    await host.handOver(activation,",
        replace:
          `    if (!await this.#giveUp(activation, region)) throw new AtlasError("unavailable", key);
    await host.handOver(activation,`,
      },
      {
        file: MIGRATION,
        find: "      if (!await this.#giveUp(activation, region)) return null;\n",
        replace: "",
      },
    ],
  },
  {
    name: "claimed_away_from_home",
    about: "A node claims a key in its own region's store, wherever the key is at home.",
    world: "regions",
    edits: [
      { file: KEYS, find: "if (home !== this.#self) throw elsewhere(key, home);", replace: "" },
      {
        file: "src/routing/locator.ts",
        find: "const home = store.homeOf?.(key) ?? null;",
        replace: "const home = host.canHost(typeOf(key)) ? null : store.homeOf?.(key) ?? null;",
      },
    ],
  },
  {
    name: "epoch_not_above",
    about: "The new home counts epochs on its own, not from the old home's last epoch.",
    world: "regions",
    edits: [{ file: ENTRIES, find: "    above: at,\n", replace: "" }],
  },
  {
    name: "address_not_restored",
    about: "An owner elsewhere doesn't restore its forwarding address that a failover has lost.",
    world: "regions",
    edits: [{
      file: ADDRESSES,
      find: "const standing = missingDeparture(entry, moved);",
      replace: "const standing = entry.kind === 'departed' && missingDeparture(entry, moved);",
    }],
  },
  {
    name: "import_repeated",
    about: "A claim of a moved key imports its state from the old home again.",
    world: "regions",
    edits: [
      {
        file: IMPORT,
        find: `return mark !== null && mark.at >= at && mark.phase === "done";`,
        replace: "return mark === undefined;",
      },
      {
        file: IMPORT,
        find: "if (mark === null || mark.at !== at) mark =",
        replace: "mark =",
      },
    ],
  },
  {
    name: "import_by_halves",
    about: "A node that takes over a key in the middle of an import doesn't finish the import.",
    world: "regions",
    edits: [{
      file: KEYS,
      find: `      if (!isMine(owner, claim)) return { won: false, owner };
      return await this.#bring(claim, stored, pointer, round);`,
      replace: `      if (!isMine(owner, claim)) return { won: false, owner };
      const taking = { ...claim, expected: stored };
      const taken = await this.#own((store) => store.claim(taking));
      if (taken.won) this.#homes.learn(claim.key, pointer, true);
      return taken;`,
    }, {
      file: KEYS,
      find: `      return await this.#bring(claim, entry.stored, entry.pointer, round);`,
      replace: `      const taking = { ...claim, expected: entry.stored };
      const taken = await this.#own((store) => store.claim(taking));
      if (taken.won) this.#homes.learn(key, pointer, true);
      return taken;`,
    }],
  },
  {
    name: "silence_overtaken",
    about:
      "A call after a link became unresponsive takes another path, past earlier calls on that link.",
    world: "regions",
    scenario: "unresponsive_link",
    edits: [{
      file: "src/node/routing.ts",
      find: "      router.callOrder.stuck(session);\n",
      replace: "",
    }],
  },
];
