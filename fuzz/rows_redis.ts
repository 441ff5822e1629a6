/**
 * Writes invalid rows to a Redis registry: hashes, strings, lists and sets of wrong types or with
 * wrong content. Keys are those of `adapters/store/redis/keys.ts`.
 */
import { dialIoredis, parseRedisUrl } from "../adapters/store/redis/client.ts";
import { type KeyKind, slotKey } from "../adapters/store/redis/keys.ts";
import { slotOf } from "../src/model/rrp.ts";
import type { Draw } from "./draw.ts";
import type { RowWriter } from "./part_rows.ts";
import { oddAddress, oddEpoch, oddHosts, oddRrp, oddStored, oddText } from "./rows_values.ts";

const PATIENCE_MS = 10_000;

export async function redisWriter(url: string): Promise<RowWriter> {
  const client = await dialIoredis(parseRedisUrl(url), PATIENCE_MS, () => {});
  return {
    async write({ draw }, key) {
      const [what, ...commands] = rowsOf(draw, key);
      for (const [name, ...args] of commands) {
        try {
          await client.send(name as string, args);
        } catch {
          // A key of another type, which an earlier input has made.
        }
      }
      return what;
    },
    close: () => client.close(),
  };
}

/** The keys of membership. */
const [INFO, SEQ, STATE, NAME, ENDED, VERSION] = [
  "atlas:{members}:info",
  "atlas:{members}:seq",
  "atlas:{members}:state",
  "atlas:{members}:name",
  "atlas:{members}:ended",
  "atlas:{members}:version",
] as const;

type Rows = [what: string, ...commands: (readonly string[])[]];

function rowsOf(draw: Draw, key: string): Rows {
  const of = (kind: KeyKind): string => slotKey(slotOf(key), kind, key);
  const epoch = (): string => draw.chance(0.8) ? String(oddEpoch(draw)) : oddText(draw);
  return draw.weighted<() => Rows>([
    [5, () => member(draw)],
    [1, () => ["a higher version", ["INCRBY", VERSION, String(draw.whole(1, 1_000))]]],
    [4, () => [
      "an owner",
      ["SET", of("own"), `${epoch()} ghost-${draw.below(40)} ${draw.uuid()} ${oddRrp(draw, key)}`],
    ]],
    [1, () => ["an invalid owner", ["SET", of("own"), oddText(draw)]]],
    [1, () => ["an owner of another type", ["DEL", of("own")], ["RPUSH", of("own"), "x"]]],
    [2, () => ["no owner", ["DEL", of("own")]]],
    [5, () => {
      const field = draw.pick([
        "s:seq",
        "s:m:000000000000001",
        "n",
        "q:bound",
        "i:k",
        "t:k",
        oddText(draw),
      ]);
      return [
        "a state",
        ["HSET", of("state"), `:${field}`, oddStored(draw)],
        ...draw.chance(0.7) ? [["ZADD", of("index"), draw.pick(["0", "1"]), `:${field}`]] : [],
      ];
    }],
    [1, () => ["an index without state", ["ZADD", of("index"), "0", `:s:${oddText(draw)}`]]],
    [1, () => ["another last turn", ["HSET", of("state"), "turn", `${epoch()} ${epoch()}`]]],
    [1, () => ["a state of another type", ["DEL", of("state")], ["SET", of("state"), "x"]]],
    [1, () => ["another epoch counter", ["SET", `atlas:{s${slotOf(key)}}:epoch`, epoch()]]],
    [3, () => ["no state", ["DEL", of("state"), of("index"), `atlas:{s${slotOf(key)}}:epoch`]]],
  ])();
}

/** A member that doesn't exist, in some of the keys that hold members. */
function member(draw: Draw): Rows {
  const incarnation = draw.chance(0.7)
    ? `ghost-${draw.below(40)}`
    : `${oddText(draw).slice(0, 200)}ghost`;
  const info = draw.weighted<() => string>([
    [
      4,
      () =>
        `{"incarnation":${JSON.stringify(incarnation)},"region":${
          JSON.stringify(draw.pick(["local", oddText(draw)]))
        },` +
        `"node":"ghost","address":${JSON.stringify(oddAddress(draw))},"hosts":${oddHosts(draw)}}`,
    ],
    [1, () => "not json"],
    [1, () => draw.pick(["null", "5", "[]", "{}", '{"incarnation":5}', ""])],
    [1, () => oddText(draw)],
  ])();
  const commands = [
    ["HSET", INFO, incarnation, info],
    ["HSET", SEQ, incarnation, draw.pick(["0", "5", "-1", "x", "", "9".repeat(40)])],
    ["HSET", STATE, incarnation, draw.pick(["live", "dead", "left", "superseded", "", "undead"])],
    ["HSET", NAME, `local/ghost-${draw.below(40)}`, incarnation],
    ["RPUSH", ENDED, incarnation],
    ["INCR", VERSION],
  ];
  return ["a member", ...commands.filter(() => draw.chance(0.75))];
}
