/**
 * A TCP forwarder on loopback whose target can change.
 *
 * Takes the target port; gives a port to connect to. When the target changes, or the forwarder is
 * closed, every connection is cut, as when an address moves to another machine.
 */
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

export interface Forwarder {
  readonly port: number;
  /** Cuts all connections; further ones lead to `port`, or are refused if it is null. */
  lead(port: number | null): void;
  close(): Promise<void>;
}

/** Listens on a free port of loopback. */
export async function startForwarder(target: number): Promise<Forwarder> {
  let leadsTo: number | null = target;
  const sockets = new Set<Socket>();
  const cut = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  const server = createServer((near) => {
    if (leadsTo === null) return void near.destroy();
    const far = connect(leadsTo, "127.0.0.1");
    for (const [one, other] of [[near, far], [far, near]] as const) {
      sockets.add(one);
      one.setNoDelay(true);
      // A close follows, which also closes the other end.
      one.on("error", () => {});
      one.on("close", () => {
        sockets.delete(one);
        other.destroy();
      });
      one.pipe(other);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    lead(port) {
      leadsTo = port;
      cut();
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        cut();
      }),
  };
}
