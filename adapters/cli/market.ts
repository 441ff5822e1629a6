/**
 * The commands for modules: `modules`, `exchange` and `authorities` print tables; `request` buys
 * capacity and makes one call.
 */
import type { AtlasClient } from "../client/client.ts";
import { answered, type Output, table } from "./output.ts";
import { type CommandLine, parseArguments } from "./usage.ts";

/** All offered modules, a line for each seller. */
export async function modules(_line: CommandLine, atlas: AtlasClient): Promise<Output> {
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
export async function request(line: CommandLine, atlas: AtlasClient): Promise<Output> {
  const [module = "", name = "", ...texts] = line.operands;
  const { timeoutMs, version } = line;
  const answer = await atlas.request(module, name, parseArguments(texts), {
    ...timeoutMs !== undefined && { timeoutMs },
    ...version !== undefined && { version },
  });
  return answered(answer);
}

/** The order books of a module, a line for each order on each exchange. */
export async function exchange({ operands }: CommandLine, atlas: AtlasClient): Promise<Output> {
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
export async function authorities(_line: CommandLine, atlas: AtlasClient): Promise<Output> {
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
