/**
 * The `atlas` command: a window into a cluster from a terminal.
 *
 * Takes a command line and an environment; writes tables or JSON on one stream, errors
 * on another; gives the exit status: 0 done, 1 the cluster said no, 2 bad usage.
 */
import type { Atlas } from "../../src/api.ts";
import { AtlasError, isAtlasError, messageOf } from "../../src/errors.ts";
import { DEFAULT_TIMEOUT_MS } from "../../src/limits.ts";
import type { Member } from "../../src/model/member.ts";
import { checkPrefix } from "../../src/model/rrp.ts";
import { connect } from "../http/client.ts";
import { toJson } from "../http/json.ts";
import { createRequester } from "../http/requester.ts";
import { urlOfLink } from "../runtime/hosts.ts";
import { authorities, exchange, modules, request } from "./market.ts";
import { answered, type Command, type Output } from "./output.ts";
import { raceCommand } from "./race.ts";
import { table } from "./table.ts";
import { type CommandLine, HELP, parseArguments, parseCommandLine, UsageError } from "./usage.ts";

export interface CliStreams {
  out(text: string): void;
  err(text: string): void;
}

const COMMANDS: { readonly [command: string]: Command } = {
  nodes,
  lookup,
  call,
  resources,
  modules,
  request,
  exchange,
  authorities,
  drain,
};

/** Runs one command; gives the exit status. */
export async function runCli(
  words: readonly string[],
  env: { readonly [name: string]: string | undefined },
  streams: CliStreams,
): Promise<number> {
  try {
    const line = parseCommandLine(words, env);
    if (line === null) {
      streams.out(HELP);
      return 0;
    }
    const { document, text } = await outputOf(line);
    streams.out(line.json ? `${toJson(document)}\n` : text);
    return 0;
  } catch (error) {
    if (error instanceof UsageError) {
      streams.err(`atlas: ${error.message}\nTry: atlas --help\n`);
      return 2;
    }
    const code = isAtlasError(error) ? error.code : "unavailable";
    streams.err(`${code}: ${messageOf(error)}\n`);
    return 1;
  }
}

/** A race goes straight to a registry; all else asks a node. */
function outputOf(line: CommandLine): Promise<Output> {
  if (line.command === "race") return raceCommand(line);
  return (COMMANDS[line.command] as Command)(line, open(line));
}

function open({ urls, token, timeoutMs }: CommandLine): Atlas {
  try {
    return connect(urls, {
      ...(token === undefined ? {} : { token }),
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
    });
  } catch (error) {
    throw new UsageError(`--url or ATLAS_URL: ${messageOf(error)}`);
  }
}

async function nodes(_line: CommandLine, atlas: Atlas): Promise<Output> {
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

async function lookup({ operands, confirmed }: CommandLine, atlas: Atlas): Promise<Output> {
  const [type = "", id = ""] = operands;
  const found = await atlas.lookup(type, id, confirmed ? { require: "confirmed" } : {});
  const row = [found.key, found.rrp ?? "-", found.epoch, found.verdict, Math.round(found.ageMs)];
  return { document: found, text: table(["KEY", "RRP", "EPOCH", "VERDICT", "AGE MS"], [row]) };
}

async function call({ operands, key }: CommandLine, atlas: Atlas): Promise<Output> {
  const [type = "", id = "", method = "", ...texts] = operands;
  const args = parseArguments(texts);
  const options = key === undefined ? {} : { idempotencyKey: key };
  return answered(await atlas.call(type, id, method, args, options));
}

async function resources(line: CommandLine, atlas: Atlas): Promise<Output> {
  const { operands, limit } = line;
  if (line.count) {
    const prefix = operands[0] ?? "rrp:";
    const count = await atlas.count(prefix);
    return { document: { prefix, count }, text: `${count}\n` };
  }
  const found: { rrp: string; epoch: number }[] = [];
  let next: string | null = null;
  do {
    const page = await atlas.resources(operands[0] ?? "rrp:", {
      limit: Math.min(1_000, limit - found.length),
      ...(next === null ? {} : { cursor: next }),
    });
    found.push(...page.resources);
    next = page.next;
  } while (next !== null && found.length < limit);
  const rows = found.map(({ rrp, epoch }) => [rrp, epoch]);
  const more = next === null ? "" : `There are more: use --limit.\n`;
  return {
    document: { resources: found, next },
    text: table(["RRP", "EPOCH"], rows) + more,
  };
}

/** A node drains itself, so the request goes to its own URL, as its membership tells it. */
async function drain(line: CommandLine, atlas: Atlas): Promise<Output> {
  const name = line.operands[0] as string;
  if (name.startsWith("rrp:")) return await handOver(line, atlas, name);
  const member = pickLive(await atlas.members(), name);
  const answer = await askToDrain(line, member, "");
  return { document: answer, text: `${member.region}/${member.node} is draining\n` };
}

/** Every live node that a prefix names gives up what falls under it, and stays. */
async function handOver(line: CommandLine, atlas: Atlas, prefix: string): Promise<Output> {
  const query = `?prefix=${encodeURIComponent(checkedPrefix(prefix))}`;
  const members = (await atlas.members()).filter(({ region, node, state }) => {
    const own = `rrp:${region}/${node}/`;
    return state === "live" && (own.startsWith(prefix) || prefix.startsWith(own));
  });
  if (members.length === 0) {
    throw new AtlasError("not_found", `no live node has resources of ${prefix}`);
  }
  const answers = await Promise.all(members.map((member) => askToDrain(line, member, query)));
  const text = members.map(({ region, node }) => `${region}/${node} hands over ${prefix}\n`);
  return { document: { nodes: answers }, text: text.join("") };
}

async function askToDrain(line: CommandLine, member: Member, query: string): Promise<unknown> {
  const urls = [urlOfLink(member.address)];
  const request = createRequester({ urls, token: line.token, fetch });
  const timeoutMs = line.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  return await request({ method: "POST", path: `/v1/drain${query}`, timeoutMs });
}

function checkedPrefix(prefix: string): string {
  try {
    return checkPrefix(prefix);
  } catch (error) {
    throw new UsageError(messageOf(error));
  }
}

function pickLive(members: readonly Member[], name: string): Member {
  const live = members.filter((member) =>
    member.state === "live" && (member.node === name || `${member.region}/${member.node}` === name)
  );
  if (live.length === 1) return live[0] as Member;
  if (live.length === 0) throw new AtlasError("not_found", `there is no live node ${name}`);
  const names = live.map((member) => `${member.region}/${member.node}`).join(", ");
  throw new UsageError(`several nodes are called ${name}: use one of ${names}`);
}
