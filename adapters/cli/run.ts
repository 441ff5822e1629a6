/**
 * The `atlas` command. Takes a command line and an environment; writes tables or JSON on one
 * stream, errors on another. Exit status: 0 done, 1 the cluster refused or failed, 2 wrong usage.
 */
import { type AtlasError, isAtlasError, messageOf } from "../../src/errors.ts";
import { type AtlasClient, type ClientSockets, connect } from "../client/client.ts";
import { toJson } from "../http_wire/json.ts";
import { drain } from "./drain.ts";
import { authorities, exchange, modules, request } from "./market.ts";
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

/** What a client's options are called here. */
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
  // Of a command it is an option of another meaning.
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

/** A race goes to a registry directly; all other commands ask a node. */
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

/** Writes events until the socket is closed: 0 where the resource closed it, else 1. */
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
