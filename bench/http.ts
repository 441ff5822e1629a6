/**
 * Bench: a call over HTTP, 32 connections with one request at a time each. Peer: a bare Hono route
 * on the same server, `Bun.serve` or `@hono/node-server`; on Deno also on `Deno.serve`.
 *
 * The load generator is a process of its own. The share of a core that it used is printed: if that
 * is near 100 %, it was the bottleneck, and the ratio is too good.
 */
import { type BenchOptions, type Figure, figure, inTurns, median } from "./kit.ts";
import type { HttpLoad } from "./load/http.ts";
import { startLoad, startOn, type Worker, Workers } from "./worker.ts";

const CONNECTIONS = 32;
const ROUTE = "/v1/resources/echo/wall_0/echo";
const BODY: string = JSON.stringify(["x".repeat(100)]);

/** The least ratio of rates, by runtime. */
const LEAST = { bun: 0.75, node: 0.75, deno: 0.6 };

export async function runHttp(options: BenchOptions): Promise<Figure[]> {
  const workers = new Workers();
  try {
    return await measure(options, workers);
  } finally {
    await workers.stop();
  }
}

async function measure(options: BenchOptions, workers: Workers): Promise<Figure[]> {
  const { runtime, runtimeName, runs, seconds, floorsOnly, log } = options;
  const load = await workers.add(startLoad("load/http.ts"));
  const atlas = await workers.add(startOn(runtime, "atlas_node.ts", "bench", "memory:"));
  const server = (kind: string) => workers.add(startOn(runtime, "peers/hono.ts", kind));
  const same = await server(runtime.name === "bun" ? "bun" : "node");
  const own = runtime.name === "deno" && !floorsOnly ? await server("deno") : null;
  const nothing = runtime.name === "bun" && !floorsOnly ? await server("none") : null;
  const side = (seconds: number) => (worker: Worker) => () =>
    load.ask<HttpLoad>({
      do: "post",
      url: `${worker.ready["url"]}${ROUTE}`,
      body: BODY,
      connections: CONNECTIONS,
      seconds,
    });
  const servers = [atlas, same, ...own ? [own] : [], ...nothing ? [nothing] : []];
  // Code is compiled meanwhile.
  for (const warm of servers.map(side(1.2))) await warm();
  log(`${CONNECTIONS} connections`);
  const [ours = [], theirs = [], others = []] = await inTurns(runs, servers.map(side(seconds)));
  log(`load generator's share of a core: ${share(ours)} for Atlas, ${share(theirs)} for the peer`);
  const route = `bare Hono route on ${runtime.name === "bun" ? "Bun.serve" : "@hono/node-server"}`;
  const about = { bench: "http", metric: `HTTP call, ${CONNECTIONS} connections`, unit: "req/s" };
  const tail = { ...about, metric: `${about.metric}, p99`, unit: "µs", better: "less" as const };
  const rates = (runs: HttpLoad[]) => runs.map(({ rate }) => rate);
  const p99s = (runs: HttpLoad[]) => runs.map(({ p99 }) => p99);
  const name = { runtime: runtimeName };
  const goal = { of: "ratio" as const, least: LEAST[runtime.name] };
  const figures = [
    figure({ ...about, ...name, peer: route, goal }, rates(ours), rates(theirs)),
    figure(
      { ...tail, ...name, peer: route, goal: { of: "ratio", most: 3 }, isFloor: false },
      p99s(ours),
      p99s(theirs),
    ),
  ];
  if (own) {
    const peer = "bare Hono route on Deno.serve";
    figures.push(figure({ ...about, ...name, peer }, rates(ours), rates(others)));
  }
  if (nothing) {
    figures.push(figure(
      {
        ...about,
        ...name,
        metric: "without Atlas: the ceiling of the load generator",
        peer: route,
        isFloor: false,
      },
      rates(others),
      rates(theirs),
    ));
  }
  return figures;
}

function share(runs: readonly HttpLoad[]): string {
  return `${Math.round(100 * median(runs.map(({ busy }) => busy)))} %`;
}
