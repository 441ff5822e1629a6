/**
 * Benches of client sockets: events to 1,000 sockets, and the memory of an idle one.
 *
 * Each server runs in a process, and its sockets in another one, which also sends the messages that
 * become events. Peers: on Bun its own `publish`; on Node Socket.IO 4.8 and the package `ws`; on
 * Deno its own server.
 */
import { type BenchOptions, type Figure, figure, type Goal, inTurns, median } from "./kit.ts";
import type { FanLoad } from "./load/sockets.ts";
import { startLoad, startOn, type Worker, Workers } from "./worker.ts";

const SOCKETS = 1_000;
/** Messages under way: enough to keep the server busy. */
const WINDOW = 4;
/** Messages per second whose latency is measured. */
const RATE = 400;
const IDLE = 5_000;
/** Sockets that are opened before the measurement. */
const WARM = 1_000;

/** A server, and the process that has its sockets. */
interface Side {
  readonly name: string;
  readonly server: Worker;
  readonly load: Worker;
}

const NAMES = {
  bun: "Bun's own publish",
  deno: "Deno's own sockets, a loop",
  ws: "ws, a loop",
  "socket.io": "Socket.IO 4.8",
};

async function atlas({ runtime }: BenchOptions, workers: Workers): Promise<Side> {
  const server = await workers.add(startOn(runtime, "atlas_node.ts", "bench", "memory:"));
  const url = `${server.ready["url"]}/v1/connect/room/lobby`;
  const load = await workers.add(startLoad("load/sockets.ts", "atlas", url));
  return { name: "Atlas", server, load };
}

async function peer(
  { runtime }: BenchOptions,
  workers: Workers,
  kind: keyof typeof NAMES,
): Promise<Side> {
  const server = await workers.add(startOn(runtime, "peers/rooms.ts", kind));
  const protocol = kind === "socket.io" ? kind : "plain";
  const url = String(server.ready["url"]);
  const load = await workers.add(startLoad("load/sockets.ts", protocol, url));
  return { name: NAMES[kind], server, load };
}

/** Deliveries per second to 1,000 sockets, and their latency. */
export async function runFanOut(options: BenchOptions): Promise<Figure[]> {
  const workers = new Workers();
  try {
    const kind = ({ bun: "bun", node: "socket.io", deno: "deno" } as const)[options.runtime.name];
    return await fanOut(options, [
      await atlas(options, workers),
      await peer(options, workers, kind),
    ]);
  } finally {
    await workers.stop();
  }
}

async function fanOut(
  { runtime, runtimeName, runs, seconds, log }: BenchOptions,
  sides: readonly [Side, Side],
): Promise<Figure[]> {
  for (const { load } of sides) await load.ask({ do: "open", count: SOCKETS });
  const measure = (job: object) => ({ server, load }: Side) => async () => {
    const before = await server.ask<number>({ do: "cpu" });
    const it = await load.ask<FanLoad>({ ...job, window: WINDOW });
    const cpu = await server.ask<number>({ do: "cpu" }) - before;
    return { ...it, cpu: cpu / (it.deliveries * seconds) };
  };
  const [ours, theirs] = sides.map(measure({ do: "fan", seconds })) as [
    ReturnType<ReturnType<typeof measure>>,
    ReturnType<ReturnType<typeof measure>>,
  ];
  for (const run of [ours, theirs]) await run();
  log(`events to ${SOCKETS} sockets`);
  const full = await inTurns(runs, [ours, theirs]);
  const [slow, slowPeer] = sides.map(measure({ do: "paced", rate: RATE, seconds })) as [
    ReturnType<ReturnType<typeof measure>>,
    ReturnType<ReturnType<typeof measure>>,
  ];
  const paced = await inTurns(runs, [slow, slowPeer]);
  const share = (all: FanLoad[]) => `${Math.round(100 * median(all.map(({ busy }) => busy)))} %`;
  const rate = (all: FanLoad[]) => Math.round(median(all.map(({ messages }) => messages)));
  log(
    `the sockets' share of a core: ${share(full[0])} for Atlas, ${share(full[1])} for the peer; ` +
      `of ${RATE} messages/s, ${rate(paced[0])} and ${rate(paced[1])} were sent`,
  );
  const least = { bun: 0.9, node: 1.5, deno: undefined }[runtime.name];
  const goal: Goal | undefined = least === undefined ? undefined : { of: "ratio", least };
  const about = { bench: "fanout", runtime: runtimeName, peer: sides[1].name };
  const less = { ...about, better: "less" as const };
  const to = `events to ${SOCKETS.toLocaleString("en-US")} sockets`;
  return [
    figure(
      { ...about, metric: to, unit: "deliveries/s", goal },
      full[0].map((it) => it.deliveries),
      full[1].map((it) => it.deliveries),
    ),
    figure(
      { ...less, metric: `${to}, CPU of the server per delivery`, unit: "µs" },
      full[0].map((it) => it.cpu),
      full[1].map((it) => it.cpu),
    ),
    figure(
      {
        ...less,
        metric: `${to}, ${RATE} events/s offered, p99`,
        unit: "ms",
        goal: { of: "value", most: 25 },
        isFloor: false,
      },
      paced[0].map((it) => it.p99),
      paced[1].map((it) => it.p99),
    ),
  ];
}

/** The most resident bytes of an idle socket, by runtime. */
const MOST = { bun: 5_120, node: 16_384, deno: undefined };

/** Resident bytes of the server for each idle socket. */
export async function runIdleSockets(options: BenchOptions): Promise<Figure[]> {
  const { runtime, runtimeName, runs, log } = options;
  const kinds = ({ bun: ["bun"], node: ["ws", "socket.io"], deno: ["deno"] } as const)[
    runtime.name
  ];
  const measure = (start: (workers: Workers) => Promise<Side>) => async () => {
    const workers = new Workers();
    try {
      const { server, load } = await start(workers);
      await load.ask({ do: "open", count: WARM });
      const before = await server.ask<number>({ do: "resident" });
      await load.ask({ do: "open", count: IDLE });
      return (await server.ask<number>({ do: "resident" }) - before) / IDLE;
    } finally {
      await workers.stop();
    }
  };
  log(`${IDLE} idle sockets`);
  const sides = [
    measure((workers) => atlas(options, workers)),
    ...kinds.map((kind) => measure((workers) => peer(options, workers, kind))),
  ];
  // Each run takes new processes; sizes vary less than times.
  const [ours = [], ...others] = await inTurns(Math.ceil(runs / 2), sides);
  const most = MOST[runtime.name];
  return others.map((theirs, i) =>
    figure(
      {
        bench: "sockets",
        metric: "idle client socket, resident",
        unit: "bytes",
        peer: NAMES[kinds[i] as keyof typeof NAMES].replace(/, a loop| own publish/, ""),
        runtime: runtimeName,
        better: "less",
        goal: most === undefined ? undefined : { of: "value", most },
      },
      ours,
      theirs,
    )
  );
}
