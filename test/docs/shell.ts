/**
 * Runs a page's shell blocks, line by line, against real nodes.
 *
 * `npm start` starts a node in the page's folder, `curl` and `npx atlas` ask the nodes that were
 * started (one of the example app, where the page starts none); what the page shows below a
 * command must be in the output. What can't be run is checked as far as it can be; what isn't
 * checked at all is in {@link NOT_RUN}.
 */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import process from "node:process";
import { parseCommandLine } from "../../adapters/cli/usage.ts";
import { readSettings } from "../../adapters/config/environment.ts";
import { ROOT, RUNTIMES } from "../../scripts/runtimes.ts";
import { type Program, readyLine, run } from "../e2e/process.ts";
import { type Command, missingLines } from "./blocks.ts";

/** Commands that no test of this folder runs or checks, and why. */
export const NOT_RUN: readonly (readonly [command: RegExp, reason: string])[] = [
  [/^docker /, "needs Docker; test/e2e/container_test.ts runs the image's own commands"],
  [/^auth=|\$auth/, "asks the nodes of Docker Compose"],
  [/^fly /, "needs an account of Fly"],
  [/^deno run --no-prompt/, "test/e2e/deno_permissions_test.ts runs it"],
];

/** npm's own commands; all others are scripts of package.json. */
const NPM = ["ci", "cit", "pack"];
/** Commands of `atlas` that don't end by themselves, or need registries: their words are parsed. */
const PARSED = ["listen", "race"];

const SCRIPTS: { readonly [name: string]: string } =
  JSON.parse(readFileSync(`${ROOT}package.json`, "utf8")).scripts;
const REFERENCE = readFileSync(`${ROOT}docs/reference.md`, "utf8");
/** What `npm start` runs. */
const BUN = RUNTIMES.find(({ name }) => name === "bun")?.run ?? [];
const COMMAND_MS = 30_000;

type Variables = Record<string, string>;

export class Shell {
  readonly #folder: string;
  readonly #ports: readonly [number, number];
  readonly #nodes: Map<string, Program> = new Map();
  #exported: Variables = {};

  /** `ports` take the place of 8080 and 8081. */
  constructor(folder: string, ports: readonly [number, number]) {
    this.#folder = folder;
    this.#ports = ports;
  }

  /** Exported variables end with the block in which they are. */
  newBlock(): void {
    this.#exported = {};
  }

  /** Runs or checks a command. @throws where it fails, or prints something else than the page */
  async run({ text, expected }: Command): Promise<void> {
    if (NOT_RUN.some(([command]) => command.test(text))) return;
    const [variables, words] = split(text);
    if (words === "" || words === "npm start") {
      const all = { ...this.#exported, ...variables };
      if (words === "") checkSettings(variables);
      else await this.#start(all);
    } else if (words.startsWith("export ")) {
      const [exported] = split(words.slice("export ".length));
      checkNames(exported); // their values, with all others, where a node is started
      Object.assign(this.#exported, exported);
    } else if (words.startsWith("npm ")) checkNpm(words);
    else if (words.startsWith("curl ") || words.startsWith("npx atlas ")) {
      const output = await this.#ask(words);
      const missing = missingLines(expected.map((line) => this.#withPorts(line)), output);
      if (missing.length > 0) throw new Error(`${text} printed ${output}, not ${missing}`);
    } else throw new Error(`${text}: say in NOT_RUN why it can't be run`);
  }

  async close(): Promise<void> {
    const nodes = [...this.#nodes.values()];
    this.#nodes.clear();
    for (const node of nodes) node.signal("SIGKILL");
    await Promise.all(nodes.map((node) => node.ended));
  }

  #withPorts(text: string): string {
    return text.replace(/\b808([01])\b/g, (_, at: "0" | "1") => String(this.#ports[at]));
  }

  /** Starts a node, where its registry is a file; in the place of one at the same port. */
  async #start(variables: Variables): Promise<void> {
    checkSettings(variables);
    const { ATLAS_REGISTRY_URL: registry = "file:", PORT = "8080" } = variables;
    if (!registry.split(",").every((url) => /^(\S+=)?file:/.test(url))) return;
    const port = this.#withPorts(PORT);
    const former = this.#nodes.get(port);
    if (former !== undefined) {
      former.signal("SIGTERM");
      await former.ended;
    }
    const env = { ...variables, PORT: port, ATLAS_LOG: "warning" };
    const node = run([...BUN, `${ROOT}node.ts`], env, this.#folder);
    this.#nodes.set(port, node);
    await readyLine(node);
  }

  async #ask(words: string): Promise<string> {
    if (this.#nodes.size === 0) await this.#start({});
    const url = `http://127.0.0.1:${this.#ports[0]}`;
    if (words.startsWith("curl ")) {
      return await output(this.#withPorts(words).replace("curl ", "curl -sS --fail-with-body "));
    }
    const atlas = words.slice("npx atlas ".length);
    const shown = await output(`for word in ${atlas}; do printf '%s\\0' "$word"; done`);
    const parts = shown.split("\0").slice(0, -1);
    const line = parseCommandLine(parts, {});
    if (PARSED.includes(line?.command ?? "")) return "";
    return await output(`"${BUN.join('" "')}" "${ROOT}cli.ts" ${atlas}`, { ATLAS_URL: url });
  }
}

/** `A=b C="d" rest` as its variables, and the rest. */
function split(text: string): [Variables, string] {
  const variables: Variables = {};
  let rest = text;
  for (;;) {
    const [all, name, , quoted, single, plain = ""] =
      /^([A-Z_]+)=("([^"]*)"|'([^']*)'|(\$\([^)]*\)|[^\s"']*))(?:\s+|$)/.exec(rest) ?? [];
    if (all === undefined || name === undefined) return [variables, rest];
    const value = quoted ?? single ?? plain;
    variables[name] = value.startsWith("$(openssl rand") ? randomBytes(32).toString("hex") : value;
    rest = rest.slice(all.length);
  }
}

/** All are variables of a node, and their values are allowed; `…` is any value. */
function checkSettings(variables: Variables): void {
  checkNames(variables);
  const filled = Object.entries(variables).map(([name, value]): [string, string] => {
    const any = name === "ATLAS_SECRET" ? "s".repeat(32) : "x";
    return [name, value.replaceAll("…", any)];
  });
  readSettings(Object.fromEntries(filled));
}

/** Each is a variable in the reference. */
function checkNames(variables: Variables): void {
  for (const name of Object.keys(variables)) {
    if (!REFERENCE.includes(`\`${name}\``)) throw new Error(`the reference has no ${name}`);
  }
}

function checkNpm(words: string): void {
  const [, name = "", script = name] = words.replace(" --silent", "").split(" ");
  const known = name === "run" ? script in SCRIPTS : NPM.includes(name) || name in SCRIPTS;
  if (!known) throw new Error(`npm has no ${words}`);
}

/** What a command prints. @throws where its exit code isn't 0 */
function output(command: string, env: Variables = {}): Promise<string> {
  const { PATH = "", HOME = "/" } = process.env;
  const child = spawn("bash", ["-c", command], {
    env: { PATH, HOME, ...env },
    stdio: ["ignore", "pipe", "pipe"],
    timeout: COMMAND_MS,
  });
  let text = "";
  child.stdout.on("data", (data) => text += data);
  let errors = "";
  child.stderr.on("data", (data) => errors += data);
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => {
      if (code === 0) resolve(text);
      else reject(new Error(`${command} ended with ${code}: ${text}${errors}`));
    });
  });
}
