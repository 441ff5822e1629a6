/**
 * TCP proxies with a delay, for connections between regions on one machine.
 *
 * Takes a target port and, for each connection, the route that it is on; gives a port to connect
 * to. Bytes keep their order and arrive the route's one-way delay later, a connection's first bytes
 * one round trip later still, as with TCP's handshake. A route can be closed. All bytes can be
 * observed. Delays are a timer's: exact to about 1 ms.
 */
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

/**
 * - `open`: everything passes;
 * - `silent`: nothing passes and no error shows, as in a network that drops packets; what was sent
 *   meanwhile arrives once the route is open again, because TCP resends it;
 * - `closed`: connections are cut, and further ones refused.
 */
export type RouteState = "open" | "silent" | "closed";

/** The direction of bytes: `out`, from the client that connected; `back`, to it. */
export type Direction = "out" | "back";

/** Gets a connection's bytes in order, when they are sent. */
export type Tap = (direction: Direction, bytes: Buffer) => void;

/** Bytes that one direction of a connection holds before its sender has to wait. */
const MAX_HELD = 4_194_304;

/** A route between two places, for any number of connections. */
export class Route {
  readonly oneWayMs: number;
  readonly #connections = new Set<ProxiedConnection>();
  #state: RouteState = "open";

  constructor(oneWayMs: number) {
    this.oneWayMs = oneWayMs;
  }

  get state(): RouteState {
    return this.#state;
  }

  set state(state: RouteState) {
    this.#state = state;
    for (const connection of [...this.#connections]) {
      if (state === "closed") connection.end();
      else connection.go();
    }
  }

  /** Carries a connection to `port` until it ends. */
  carry(socket: Socket, port: number, tap: Tap): void {
    if (this.#state === "closed") return void socket.destroy();
    const connection = new ProxiedConnection(this, socket, connect(port, "127.0.0.1"), tap);
    this.#connections.add(connection);
    connection.ended = () => this.#connections.delete(connection);
  }
}

/** One connection: its two ends and the bytes between them. */
class ProxiedConnection {
  ended: () => void = () => {};
  readonly #ends: readonly [Socket, Socket];
  readonly #pipes: readonly [DelayedPipe, DelayedPipe];

  constructor(route: Route, near: Socket, far: Socket, tap: Tap) {
    const opened = performance.now() + 2 * route.oneWayMs;
    this.#ends = [near, far];
    this.#pipes = [
      new DelayedPipe(route, near, far, opened, (bytes) => tap("out", bytes)),
      new DelayedPipe(route, far, near, opened, (bytes) => tap("back", bytes)),
    ];
    for (const end of this.#ends) {
      end.setNoDelay(true);
      // A close follows, which also closes the other end.
      end.on("error", () => {});
      end.on("close", () => this.end());
    }
  }

  go(): void {
    for (const pipe of this.#pipes) pipe.go();
  }

  end(): void {
    for (const pipe of this.#pipes) pipe.stop();
    for (const end of this.#ends) end.destroy();
    this.ended();
  }
}

/** One direction of a connection. */
class DelayedPipe {
  readonly #route: Route;
  readonly #from: Socket;
  readonly #to: Socket;
  /** Bytes on their way, and when they arrive; null: the sender has ended. */
  readonly #held: { readonly due: number; readonly bytes: Buffer | null }[] = [];
  readonly #opened: number;
  #size = 0;
  #timer: ReturnType<typeof setTimeout> | null = null;

  constructor(
    route: Route,
    from: Socket,
    to: Socket,
    opened: number,
    tap: (bytes: Buffer) => void,
  ) {
    this.#route = route;
    this.#from = from;
    this.#to = to;
    this.#opened = opened;
    from.on("data", (bytes: Buffer) => {
      tap(bytes);
      this.#hold(bytes);
    });
    from.on("end", () => this.#hold(null));
  }

  /** Delivers what is due, and sets a timer for the rest. */
  go(): void {
    this.stop();
    const now = performance.now();
    while (this.#held.length > 0 && this.#route.state === "open") {
      const { due, bytes } = this.#held[0] as { due: number; bytes: Buffer | null };
      if (due > now) {
        this.#timer = setTimeout(() => this.go(), due - now);
        return;
      }
      this.#held.shift();
      if (bytes === null) this.#to.end();
      else {
        this.#size -= bytes.length;
        this.#to.write(bytes);
      }
    }
    if (this.#size < MAX_HELD) this.#from.resume();
  }

  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  #hold(bytes: Buffer | null): void {
    const due = Math.max(performance.now(), this.#opened) + this.#route.oneWayMs;
    this.#held.push({ due, bytes });
    this.#size += bytes?.length ?? 0;
    if (this.#size >= MAX_HELD) this.#from.pause();
    if (this.#timer === null) this.go();
  }
}

export interface DelayProxyOptions {
  /** Where its connections lead, on loopback. */
  readonly target: number;
  /** The route of a connection from `port`; null: it is refused. */
  readonly route: (port: number) => Route | null;
  /** The listener for connections on this route. Default: none. */
  readonly tap?: (route: Route) => Tap;
}

export interface DelayProxy {
  readonly port: number;
  close(): Promise<void>;
}

/** Listens on a free port of loopback. */
export async function startDelayProxy(options: DelayProxyOptions): Promise<DelayProxy> {
  const { target, route, tap } = options;
  const sockets = new Set<Socket>();
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => {});
    const taken = route(socket.remotePort ?? 0);
    if (taken === null) return void socket.destroy();
    taken.carry(socket, target, tap?.(taken) ?? (() => {}));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}
