/**
 * `atlas drain`: a janitor who goes from door to door with the notice, and writes down who
 * took it.
 *
 * Takes a node's name or a prefix; asks each node that it concerns, at its own URL as its
 * membership tells it, since a node drains itself; gives what each of them said.
 */
import { AtlasError, isAtlasError, messageOf, toAtlasError } from "../../src/errors.ts";
import { DEFAULT_TIMEOUT_MS } from "../../src/limits.ts";
import type { Member } from "../../src/model/member.ts";
import type { AtlasClient } from "../http/client.ts";
import { errorBody } from "../http/errors.ts";
import { createRequester } from "../http/requester.ts";
import { urlOfLink } from "../runtime/hosts.ts";
import type { Output } from "./output.ts";
import { type CommandLine, prefixOf, UsageError } from "./usage.ts";

/** A whole node, which then leaves, or what falls under a prefix. */
export async function drain(line: CommandLine, atlas: AtlasClient): Promise<Output> {
  const name = line.operands[0] as string;
  if (name.startsWith("rrp:")) return await handOver(line, atlas, prefixOf(name));
  if (line.forMs !== undefined) {
    throw new UsageError("--for goes with a prefix: a node that drains leaves for good");
  }
  const member = pickLive(await atlas.members(), name);
  const document = await ask(line, member, "");
  return { document, text: `${nameOf(member)} is draining\n` };
}

/** Every live node that a prefix names gives up what falls under it, and stays. */
async function handOver(line: CommandLine, atlas: AtlasClient, prefix: string): Promise<Output> {
  const query = new URLSearchParams({ prefix });
  if (line.forMs !== undefined) query.set("forMs", String(line.forMs));
  const members = (await atlas.members()).filter(({ region, node, state }) => {
    const own = `rrp:${region}/${node}/`;
    return state === "live" && (own.startsWith(prefix) || prefix.startsWith(own));
  });
  if (members.length === 0) {
    throw new AtlasError("not_found", `no live node has resources of ${prefix}`);
  }
  const notes = await Promise.all(members.map((member) => note(line, member, prefix, `?${query}`)));
  return {
    document: { nodes: notes.map(({ document }) => document) },
    text: notes.map(({ text }) => text).join(""),
    failures: notes.flatMap(({ failures }) => failures ?? []),
  };
}

/** What one node said to the request; what it couldn't do is noted, not thrown. */
async function note(
  line: CommandLine,
  member: Member,
  prefix: string,
  query: string,
): Promise<Output> {
  const name = nameOf(member);
  try {
    const document = await ask(line, member, query);
    return { document, text: `${name} hands over ${prefix}\n` };
  } catch (thrown) {
    const { region, node, incarnation } = member;
    const error = isAtlasError(thrown) ? thrown : toAtlasError(thrown);
    const failure = new AtlasError(error.code, `${name}: ${messageOf(error)}`, { cause: error });
    return {
      document: { region, node, incarnation, ...errorBody(error) },
      text: `${name} does not: ${error.code}\n`,
      failures: [failure],
    };
  }
}

async function ask(line: CommandLine, member: Member, query: string): Promise<unknown> {
  const urls = [urlOfLink(member.address)];
  const request = createRequester({ urls, token: line.token, fetch });
  const timeoutMs = line.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  return await request({ method: "POST", path: `/v1/drain${query}`, timeoutMs });
}

function pickLive(members: readonly Member[], name: string): Member {
  const live = members.filter((member) =>
    member.state === "live" && (member.node === name || nameOf(member) === name)
  );
  if (live.length === 1) return live[0] as Member;
  if (live.length === 0) throw new AtlasError("not_found", `there is no live node ${name}`);
  const names = live.map(nameOf).join(", ");
  throw new UsageError(`several nodes are called ${name}: use one of ${names}`);
}

function nameOf({ region, node }: Member): string {
  return `${region}/${node}`;
}
