/**
 * The `atlas` command. Takes a command line and an environment; writes tables or JSON on one
 * stream, errors on another. Exit status: 0 done, 1 the cluster refused or failed, 2 wrong usage.
 */
import { AtlasError, isAtlasError, messageOf } from "../../src/errors.ts";
import { DEFAULT_TIMEOUT_MS } from "../../src/limits.ts";
import { nodeName } from "../../src/model/call_path.ts";
import { type AtlasClient, type ClientSockets, connect } from "../client/client.ts";
import { baseUrls } from "../client/options.ts";
import { createRequester } from "../client/retrying_requester.ts";
import { errorOf } from "../http_wire/errors.ts";
import { toJson } from "../http_wire/json.ts";
import {
  answered,
  type CliStreams,
  type Command,
  type Output,
  printable,
  table,
} from "./output.ts";
import { raceCommand } from "./race.ts";
import {
  type CommandLine,
  HELP,
  moveOf,
  parseArguments,
  parseCommandLine,
  prefixOf,
  UsageError,
} from "./usage.ts";
import { VERSION } from "./version.ts";

export type { CliStreams } from "./output.ts";

const COMMANDS: { readonly [command: string]: Command } = {
  nodes,
  lookup,
  call,
  resources,
  modules,
  request,
  exchange,
  authorities,
  move,
  drain,
};

/** The command-line names of a client's options, for errors. */
const NAMES: { readonly [option: string]: string } = {
  url: "--url or ATLAS_URL",
  token: "--token or ATLAS_TOKEN",
};

/** Runs one command; gives the exit status. */
export async function runCli(
  words: readonly string[],
  env: { readonly [name: string]: string | undefined },
  streams: CliStreams,
): Promise<number> {
  // After a command, `--version` is an option of that command.
  if (words.length === 1 && words[0] === "--version") {
    streams.out(`${VERSION}\n`);
    return 0;
  }
  try {
    const line = parseCommandLine(words, env);
    if (line === null) {
      streams.out(HELP);
      return 0;
    }
    if (line.command === "listen") return await listen(line, open(line), streams);
    const { document, text, failures = [] } = await outputOf(line);
    streams.out(line.json ? `${toJson(document)}\n` : text);
    for (const failure of failures) streams.err(errorLine(failure));
    return failures.length > 0 ? 1 : 0;
  } catch (error) {
    if (error instanceof UsageError) {
      streams.err(`atlas: ${error.message}\nTry: atlas --help\n`);
      return 2;
    }
    streams.err(errorLine(error));
    return 1;
  }
}

function errorLine(error: unknown): string {
  const code: AtlasError["code"] = isAtlasError(error) ? error.code : "unavailable";
  // A node's text must not control the terminal.
  return `${printable(`${code}: ${messageOf(error)}`)}\n`;
}

/** A race uses a registry directly; all other commands ask a node. */
function outputOf(line: CommandLine): Promise<Output> {
  if (line.command === "race") return raceCommand(line);
  return (COMMANDS[line.command] as Command)(line, open(line));
}

function open({ urls, token, timeoutMs }: CommandLine): AtlasClient {
  try {
    return connect(urls, {
      ...(token === undefined ? {} : { token }),
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
    });
  } catch (error) {
    const named = messageOf(error).replace(/^(?:url|token)(?= )/, (name) => NAMES[name] ?? name);
    throw new UsageError(named);
  }
}

async function nodes(_line: CommandLine, atlas: AtlasClient): Promise<Output> {
  const members = await atlas.members();
  const rows = members.map((member) => [
    member.region,
    member.node,
    member.state,
    member.incarnation,
    member.address,
    member.hosts.join(","),
  ]);
  return {
    document: { nodes: members },
    text: table(["REGION", "NODE", "STATE", "INCARNATION", "ADDRESS", "HOSTS"], rows),
  };
}

async function lookup({ operands, confirmed }: CommandLine, atlas: AtlasClient): Promise<Output> {
  const [type = "", id = ""] = operands;
  const found = await atlas.lookup(type, id, confirmed ? { require: "confirmed" } : {});
  const row = [found.key, found.rrp ?? "-", found.epoch, found.verdict, Math.round(found.ageMs)];
  return { document: found, text: table(["KEY", "RRP", "EPOCH", "VERDICT", "AGE MS"], [row]) };
}

async function call({ operands, key }: CommandLine, atlas: AtlasClient): Promise<Output> {
  const [type = "", id = "", method = "", ...texts] = operands;
  const args = parseArguments(texts);
  const options = key === undefined ? {} : { idempotencyKey: key };
  return answered(await atlas.call(type, id, method, args, options));
}

async function resources(line: CommandLine, atlas: AtlasClient): Promise<Output> {
  const { operands, limit } = line;
  const prefix = prefixOf(operands[0] ?? "rrp:");
  if (line.count) {
    const count = await atlas.count(prefix);
    return { document: { prefix, count }, text: `${count}\n` };
  }
  const found: { rrp: string; epoch: number }[] = [];
  let next: string | null = null;
  do {
    const page = await atlas.resources(prefix, {
      limit: Math.min(1_000, limit - found.length),
      ...(next === null ? {} : { cursor: next }),
    });
    for (const resource of page.resources) found.push(resource);
    next = page.next;
  } while (next !== null && found.length < limit);
  const rows = found.map(({ rrp, epoch }) => [rrp, epoch]);
  const more = next === null ? "" : `There are more: use --limit.\n`;
  return {
    document: { resources: found, next },
    text: table(["RRP", "EPOCH"], rows) + more,
  };
}

async function move({ operands, timeoutMs }: CommandLine, atlas: AtlasClient): Promise<Output> {
  const { type, id, region } = moveOf(operands);
  const moved = await atlas.move(type, id, region, timeoutMs === undefined ? {} : { timeoutMs });
  return { document: moved, text: table(["RRP", "EPOCH"], [[moved.rrp, moved.epoch]]) };
}

/** All offered modules, a line for each seller. */
async function modules(_line: CommandLine, atlas: AtlasClient): Promise<Output> {
  const found = await atlas.modules();
  const rows = found.flatMap(({ name, sellers }) =>
    sellers.map((seller) => [
      name,
      seller.version,
      seller.region,
      seller.node,
      seller.capacity,
      seller.granted,
      seller.inFlight,
    ])
  );
  return {
    document: { modules: found },
    text: table(
      ["MODULE", "VERSION", "REGION", "NODE", "CAPACITY", "GRANTED", "IN FLIGHT"],
      rows,
    ),
  };
}

/** One call of a module's function. */
async function request(line: CommandLine, atlas: AtlasClient): Promise<Output> {
  const [module = "", name = "", ...texts] = line.operands;
  const { timeoutMs, version } = line;
  const answer = await atlas.request(module, name, parseArguments(texts), {
    ...timeoutMs !== undefined && { timeoutMs },
    ...version !== undefined && { version },
  });
  return answered(answer);
}

/** The order books of a module, a line for each order on each exchange. */
async function exchange({ operands }: CommandLine, atlas: AtlasClient): Promise<Output> {
  const [module = ""] = operands;
  const exchanges = await atlas.exchange(module);
  const rows = exchanges.flatMap(({ region, node, orders }) => {
    const place = `${region}/${node}`;
    if (orders.length === 0) return [[place, "-", "-", "-", "-", "-"]];
    return orders.map((order) => [
      place,
      order.side,
      `${order.region}/${order.node}`,
      order.quantity,
      order.held,
      order.version ?? "newest",
    ]);
  });
  return {
    document: { module, exchanges },
    text: table(["EXCHANGE", "SIDE", "TRADER", "QUANTITY", "HELD", "VERSION"], rows),
  };
}

/** The mesh of authorities. */
async function authorities(_line: CommandLine, atlas: AtlasClient): Promise<Output> {
  const found = await atlas.authorities();
  const rows = found.map((it) => [
    it.region,
    it.node,
    it.incarnation,
    it.authorities,
    it.brokers,
    it.modules.join(","),
  ]);
  return {
    document: { authorities: found },
    text: table(["REGION", "NODE", "INCARNATION", "AUTHORITIES", "BROKERS", "MODULES"], rows),
  };
}

/** One node's answer, as the route gives it. */
interface DrainReply {
  readonly region: string;
  readonly node: string;
  readonly error?: object;
}

/**
 * `atlas drain`: drains one node, which then leaves, or all resources under a prefix. Asks only the
 * node at `--url`, which passes the request on over its links, so that the token goes to no address
 * that a registry names.
 */
async function drain(line: CommandLine): Promise<Output> {
  const name = line.operands[0] as string;
  if (name.startsWith("rrp:")) return await handOver(line, prefixOf(name));
  if (line.forMs !== undefined) {
    throw new UsageError("--for goes with a prefix: a node that drains leaves for good");
  }
  const { nodes } = await askToDrain(line, { node: name });
  return drainOutput(nodes, nodes.length === 1 ? nodes[0] : { nodes }, "is draining");
}

/** Every live node that a prefix names releases the resources under it, and continues to serve. */
async function handOver(line: CommandLine, prefix: string): Promise<Output> {
  const what: Record<string, string> = { prefix };
  if (line.forMs !== undefined) what["forMs"] = String(line.forMs);
  const { nodes } = await askToDrain(line, what);
  return drainOutput(nodes, { nodes }, `hands over ${prefix}`);
}

async function askToDrain(
  line: CommandLine,
  what: Record<string, string>,
): Promise<{ readonly nodes: readonly DrainReply[] }> {
  const request = createRequester({ urls: baseUrls(line.urls), token: line.token, fetch });
  const timeoutMs = line.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  const path = `/v1/drain?${new URLSearchParams(what)}`;
  const answer = await request({ method: "POST", path, timeoutMs }) as { nodes?: unknown } | null;
  if (Array.isArray(answer?.nodes)) return { nodes: answer.nodes };
  throw new AtlasError("unavailable", "the node did not say which nodes drain", {
    retryable: false,
    maybeExecuted: true,
  });
}

/** @param done the words after the name of a node that agreed to drain */
function drainOutput(nodes: readonly DrainReply[], document: unknown, done: string): Output {
  const failures: AtlasError[] = [];
  const lines = nodes.map((note) => {
    const name = printable(nodeName(note));
    if (note.error === undefined) return `${name} ${done}\n`;
    const { code, message, maybeExecuted } = errorOf(0, note);
    failures.push(new AtlasError(code, `${name}: ${message}`, { maybeExecuted }));
    return `${name} does not: ${code}\n`;
  });
  return { document, text: lines.join(""), failures };
}

/** Writes events until the socket is closed: 0 if the resource closed it, else 1. */
export async function listen(
  { operands, after }: CommandLine,
  atlas: ClientSockets,
  streams: CliStreams,
): Promise<number> {
  const [type = "", id = ""] = operands;
  const socket = atlas.connect(type, id, {
    ...after !== undefined && { after },
    onHello: ({ seq, gap }) => {
      if (gap) streams.err(`some events up to ${seq} are lost\n`);
    },
    onEvent: ({ seq, epoch, data }) => streams.out(`${toJson({ seq, epoch, data })}\n`),
  });
  const { code, reason } = await socket.closed;
  if (code === 1000) return 0;
  streams.err(`${printable(reason) || `the socket was closed with ${code}`}\n`);
  return 1;
}
