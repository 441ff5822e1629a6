/**
 * Parses the `atlas` command line. Takes its words; gives a command with its options, or a {@link
 * UsageError} that says what is wrong.
 */
import { parseArgs } from "node:util";
import { checkRange } from "../../src/api/module.ts";
import { messageOf } from "../../src/errors.ts";
import {
  MAX_CONTENDERS,
  MAX_DECLINE_MS,
  MAX_RACE_MS,
  MAX_STALL_MS,
  MAX_TRIALS,
} from "../../src/limits.ts";
import { checkPrefix, checkToken } from "../../src/model/rrp.ts";

/** The command line is not valid; nothing was sent. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

export const HELP = `atlas: look at an Atlas cluster, call its resources and modules

  atlas nodes                            all nodes that the registry knows
  atlas lookup TYPE ID                   where a resource lives
  atlas call TYPE ID METHOD [JSON...]    calls a method; each argument is JSON
  atlas listen TYPE ID                   prints each event of a resource as a line of JSON
  atlas resources [PREFIX]               resources, such as of rrp:us-east-1/
  atlas modules                          what is offered, by whom, and what runs
  atlas request MODULE FUNCTION [JSON...]  calls a module's function
  atlas exchange MODULE                  the order books of a module
  atlas authorities                      the authorities, and what each knows
  atlas move TYPE/ID REGION              moves a resource's home, with its state
  atlas drain NODE                       drains a node: its name, or region/name
  atlas drain PREFIX                     has nodes hand over the resources under it, and stay;
                                         the node at --url asks the others, over its links
  atlas race                             how often two nodes would own one name, on a registry

  --url URL         a node's URL; also ATLAS_URL. Default http://127.0.0.1:8080.
                    Several, with commas between: the next one is asked where one is down.
  --token TOKEN     the cluster's ATLAS_TOKEN; also ATLAS_TOKEN. Sent to --url alone.
  --json            JSON for machines instead of tables for people
  --timeout MS      deadline of each request, 1 to 300000. Default 10000.
  --key KEY         call: idempotency key, so that repeats run once
  --version RANGE   request: a version or a range, such as ^1.2. Default: the newest stable.
  --after SEQ       listen: begin after this event
  --confirmed       lookup: read through the registry's store
  --for TIME        drain PREFIX: how long nodes take none of it again, such as 90s, 10m or
                    1500 (ms), up to 1d. Default 60s.
  --limit N         resources: how many at most. Default 1000.
  --count           resources: only how many there are
  --registry URL    race: redis://, rediss:// or https://; also ATLAS_REGISTRY_URL, with
                    ATLAS_REGISTRY_TOKEN for https. Its keys are new ones, and are removed.
                    Several masters: once for each, and contenders have them in turn.
  --trials N        race: races for a name by each rule, 1 to 10000. Default 200.
  --contenders N    race: how many contend, 2 to 16. Default 2, or as many as registries.
  --stall MS        race: hold each up before it writes, by 0 to this. Default 0.
  --seconds N       race: how long at most, 1 to 600. Default 60.
  --version         alone: the version of this package
  --help            this text

Exit status: 0 done, 1 the cluster refused or failed (error code on standard error),
2 bad usage.

  atlas call channels project_0:channel_0 send '"ann"' '"hi"'
  atlas request calc pi 5
`;

export interface CommandLine {
  readonly command: string;
  readonly operands: readonly string[];
  readonly urls: readonly string[];
  readonly token: string | undefined;
  readonly json: boolean;
  readonly timeoutMs: number | undefined;
  readonly key: string | undefined;
  readonly version: string | undefined;
  readonly after: number | undefined;
  readonly confirmed: boolean;
  readonly forMs: number | undefined;
  readonly limit: number;
  readonly count: boolean;
  readonly race: RaceLine;
}

/** What `atlas race` takes. */
export interface RaceLine {
  /** One URL for each master; empty if the command line names none. */
  readonly registries: readonly string[];
  /** The token of https registries. */
  readonly token: string | undefined;
  readonly trials: number;
  readonly contenders: number;
  readonly stallMs: number;
  readonly seconds: number;
}

interface Environment {
  readonly [name: string]: string | undefined;
}

/** The least and the largest number of operands that each command takes, and its own options. */
const COMMANDS: {
  readonly [command: string]: readonly [least: number, most: number, ...options: string[]];
} = {
  nodes: [0, 0],
  lookup: [2, 2, "confirmed"],
  call: [3, Infinity, "key"],
  listen: [2, 2, "after"],
  resources: [0, 1, "limit", "count"],
  modules: [0, 0],
  request: [2, Infinity, "version"],
  exchange: [1, 1],
  authorities: [0, 0],
  move: [2, 2],
  drain: [1, 1, "for"],
  race: [0, 0, "registry", "trials", "contenders", "stall", "seconds"],
};

/** Options of every command. */
const COMMON = ["url", "token", "json", "timeout", "help"];

/** Milliseconds of the units in which `--for` may be given. */
const UNITS: { readonly [unit: string]: number } = {
  "": 1,
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** A command line, checked; null asks for help. */
export function parseCommandLine(
  words: readonly string[],
  env: Environment,
): CommandLine | null {
  const { values, positionals } = parse(words);
  const [command, ...operands] = positionals;
  if (values.help || command === "help") return null;
  if (command === undefined) throw new UsageError("a command is needed");
  const bounds = Object.hasOwn(COMMANDS, command) ? COMMANDS[command] : undefined;
  if (!bounds) throw new UsageError(`there is no command ${JSON.stringify(command)}`);
  const [least, most, ...options] = bounds;
  if (operands.length < least || operands.length > most) {
    throw new UsageError(`${command} does not take ${operands.length} operands`);
  }
  const foreign = Object.keys(values).find((name) => ![...COMMON, ...options].includes(name));
  if (foreign !== undefined) throw new UsageError(`${command} does not take --${foreign}`);
  return {
    command,
    operands,
    urls: (values.url || env["ATLAS_URL"] || "http://127.0.0.1:8080").split(","),
    token: values.token || env["ATLAS_TOKEN"] || undefined,
    json: values.json ?? false,
    timeoutMs: count("--timeout", values.timeout, 300_000),
    key: values.key,
    version: range(values.version),
    after: count("--after", values.after, 999_999_999, 0),
    confirmed: values.confirmed ?? false,
    forMs: span(values.for),
    limit: count("--limit", values.limit, 1_000_000) ?? 1_000,
    count: values.count ?? false,
    race: raceLine(values, env),
  };
}

function raceLine(values: ReturnType<typeof parse>["values"], env: Environment): RaceLine {
  const given = values.registry?.filter((url) => url !== "") ?? [];
  const registries = given.length > 0 ? given : [env["ATLAS_REGISTRY_URL"] ?? ""].filter(Boolean);
  const least = Math.max(2, registries.length);
  if (least > MAX_CONTENDERS) {
    throw new UsageError(`--registry is given ${least} times: at most ${MAX_CONTENDERS}`);
  }
  return {
    registries,
    token: env["ATLAS_REGISTRY_TOKEN"] || undefined,
    trials: count("--trials", values.trials, MAX_TRIALS) ?? 200,
    contenders: count("--contenders", values.contenders, MAX_CONTENDERS, least) ?? least,
    stallMs: count("--stall", values.stall, MAX_STALL_MS, 0) ?? 0,
    seconds: count("--seconds", values.seconds, MAX_RACE_MS / 1_000) ?? 60,
  };
}

function parse(words: readonly string[]) {
  try {
    const { values, positionals } = parseArgs({
      args: words.map(hideNegative),
      allowPositionals: true,
      options: {
        url: { type: "string" },
        token: { type: "string" },
        json: { type: "boolean" },
        timeout: { type: "string" },
        key: { type: "string" },
        version: { type: "string" },
        after: { type: "string" },
        confirmed: { type: "boolean" },
        for: { type: "string" },
        limit: { type: "string" },
        count: { type: "boolean" },
        registry: { type: "string", multiple: true },
        trials: { type: "string" },
        contenders: { type: "string" },
        stall: { type: "string" },
        seconds: { type: "string" },
        help: { type: "boolean", short: "h" },
      },
    });
    const shown = Object.entries(values).map(([name, value]) => [name, showNegative(value)]);
    return {
      values: Object.fromEntries(shown) as typeof values,
      positionals: positionals.map(showNegative),
    };
  } catch (error) {
    throw new UsageError(messageOf(error));
  }
}

/** Marks a negative number while options are parsed; no word of a command line holds it. */
const HIDDEN = "\0";

/** A negative number is an argument or a value, never an option. */
function hideNegative(word: string): string {
  return /^-\d/.test(word) ? HIDDEN + word : word;
}

function showNegative<T>(value: T): T {
  const isHidden = typeof value === "string" && value.startsWith(HIDDEN);
  return isHidden ? value.slice(HIDDEN.length) as T : value;
}

function count(
  option: string,
  text: string | undefined,
  most: number,
  least = 1,
): number | undefined {
  if (text === undefined) return undefined;
  const value = /^\d{1,9}$/.test(text) ? Number(text) : -1;
  if (value >= least && value <= most) return value;
  throw new UsageError(`${option} is ${JSON.stringify(text)}: it must be ${least} to ${most}`);
}

/** A time in ms from its text, such as `90s`; undefined if no text is given. */
function span(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const [, digits = "", unit = ""] = /^(\d{1,9})(ms|s|m|h|d|)$/.exec(text) ?? [];
  const ms = digits === "" ? 0 : Number(digits) * (UNITS[unit] as number);
  if (ms >= 1 && ms <= MAX_DECLINE_MS) return ms;
  throw new UsageError(
    `--for is ${JSON.stringify(text)}: it must be a time such as 90s, 10m or 1500 (ms), up to 1d`,
  );
}

function range(text: string | undefined): string | undefined {
  return text === undefined ? undefined : usage(() => checkRange(text));
}

/** An operand that must be a prefix of RRPs. */
export function prefixOf(text: string): string {
  return usage(() => checkPrefix(text));
}

/** The operands of a move: a resource, as TYPE/ID, and a region. */
export function moveOf([name = "", region = ""]: readonly string[]): {
  type: string;
  id: string;
  region: string;
} {
  const [, type, id] = /^([^/]+)\/(.+)$/s.exec(name) ?? [];
  if (type === undefined || id === undefined) {
    throw new UsageError(`${JSON.stringify(name)} is no resource: write TYPE/ID`);
  }
  return { type, id, region: usage(() => checkToken("region", region)) };
}

/** The result of `check`; its errors become usage errors. */
function usage<T>(check: () => T): T {
  try {
    return check();
  } catch (error) {
    throw new UsageError(messageOf(error));
  }
}

/** A call's arguments from their JSON texts. */
export function parseArguments(texts: readonly string[]): unknown[] {
  return texts.map((text) => {
    try {
      return JSON.parse(text);
    } catch {
      throw new UsageError(`the argument ${text} is not JSON; write text in quotes: '"${text}"'`);
    }
  });
}
