/**
 * What an example of the docs is given: a node in each of three regions, each with a SQLite file,
 * and a client. Runs in the example's own process; `node` is the one of us-east-1.
 */
import { mkdirSync } from "node:fs";
import process from "node:process";
import type { App } from "../../mod.ts";
import { type AtlasClient, connect } from "../../adapters/client/client.ts";
import { serve, type ServedNode } from "../../adapters/server/serve.ts";

export interface Given<A extends App> {
  readonly node: ServedNode<A>;
  readonly atlas: AtlasClient<A>;
}

const REGIONS = ["us-east-1", "eu-west-1", "ap-southeast-1"];

/** Runs `example` with what it is given, and ends the process. `ports`: of the first two nodes. */
export async function run<A extends App>(
  app: A | null,
  ports: readonly number[],
  folder: string,
  example: () => Promise<unknown>,
): Promise<void> {
  if (app !== null) {
    mkdirSync(folder, { recursive: true });
    const registry = REGIONS.map((region) => `${region}=file:${folder}/${region}.db`).join(",");
    const nodes: ServedNode<A>[] = [];
    for (const [at, region] of REGIONS.entries()) {
      nodes.push(await serve(app, { region, registry, port: ports[at] ?? 0, node: `node-${at}` }));
    }
    const node = nodes[0] as ServedNode<A>;
    const given: Given<A> = { node, atlas: connect<A>(node.url) };
    Object.assign(globalThis, { given });
  }
  await example();
  process.exit(0);
}
