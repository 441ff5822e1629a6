/**
 * TCP proxies with a delay, for connections between regions on one machine.
 *
 * Takes a target port and, for each connection, the route that it is on; gives a port to connect
 * to. Bytes keep their order and arrive the route's one-way delay later, a connection's first ones
 * a round trip later still, as with TCP's handshake. A route can be closed. All bytes can be
 * observed. Delays are a timer's: exact to about 1 ms.
 */
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

/**
 * - `open`: everything passes;
 * - `silent`: nothing passes and nobody is told, as a network that swallows packets;
 *   what was sent meanwhile arrives once the road is open again, as TCP repeats it;
 * - `shut`: connections are cut, and further ones refused.
 */
export type RoadState = "open" | "silent" | "shut";

/** Which way bytes go: `out`, from who connected; `back`, to it. */
export type Direction = "out" | "back";

/** Hears a connection's bytes in order, when they set out. */
export type Tap = (direction: Direction, bytes: Buffer) => void;

/** Bytes that one direction of a connection holds before its sender has to wait. */
const MAX_HELD = 4_194_304;

/** A way from one place to another, for any number of connections. */
export class Road {
  readonly oneWayMs: number;
  readonly #journeys = new Set<Journey>();
  #state: RoadState = "open";

  constructor(oneWayMs: number) {
    this.oneWayMs = oneWayMs;
  }

  get state(): RoadState {
    return this.#state;
  }

  set state(state: RoadState) {
    this.#state = state;
    for (const journey of [...this.#journeys]) {
      if (state === "shut") journey.end();
      else journey.go();
    }
  }

  /** Carries a connection to `port` until it ends. */
  carry(socket: Socket, port: number, tap: Tap): void {
    if (this.#state === "shut") return void socket.destroy();
    const journey = new Journey(this, socket, connect(port, "127.0.0.1"), tap);
    this.#journeys.add(journey);
    journey.ended = () => this.#journeys.delete(journey);
  }
}

/** One connection: its two ends and what is on the way between them. */
class Journey {
  ended: () => void = () => {};
  readonly #ends: readonly [Socket, Socket];
  readonly #lanes: readonly [Lane, Lane];

  constructor(road: Road, near: Socket, far: Socket, tap: Tap) {
    const opened = performance.now() + 2 * road.oneWayMs;
    this.#ends = [near, far];
    this.#lanes = [
      new Lane(road, near, far, opened, (bytes) => tap("out", bytes)),
      new Lane(road, far, near, opened, (bytes) => tap("back", bytes)),
    ];
    for (const end of this.#ends) {
      end.setNoDelay(true);
      // A close follows, and takes the other end along.
      end.on("error", () => {});
      end.on("close", () => this.end());
    }
  }

  go(): void {
    for (const lane of this.#lanes) lane.go();
  }

  end(): void {
    for (const lane of this.#lanes) lane.stop();
    for (const end of this.#ends) end.destroy();
    this.ended();
  }
}

/** One direction of a connection. */
class Lane {
  readonly #road: Road;
  readonly #from: Socket;
  readonly #to: Socket;
  /** What is on its way, and when it arrives; null: the sender has no more to say. */
  readonly #held: { readonly due: number; readonly bytes: Buffer | null }[] = [];
  readonly #opened: number;
  #size = 0;
  #timer: ReturnType<typeof setTimeout> | null = null;

  constructor(road: Road, from: Socket, to: Socket, opened: number, tap: (bytes: Buffer) => void) {
    this.#road = road;
    this.#from = from;
    this.#to = to;
    this.#opened = opened;
    from.on("data", (bytes: Buffer) => {
      tap(bytes);
      this.#hold(bytes);
    });
    from.on("end", () => this.#hold(null));
  }

  /** Delivers what is due, and comes back for the rest. */
  go(): void {
    this.stop();
    const now = performance.now();
    while (this.#held.length > 0 && this.#road.state === "open") {
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
    const due = Math.max(performance.now(), this.#opened) + this.#road.oneWayMs;
    this.#held.push({ due, bytes });
    this.#size += bytes?.length ?? 0;
    if (this.#size >= MAX_HELD) this.#from.pause();
    if (this.#timer === null) this.go();
  }
}

export interface DelayProxyOptions {
  /** Where its connections lead, on loopback. */
  readonly target: number;
  /** The road of a connection from `port`; null: it is refused. */
  readonly road: (port: number) => Road | null;
  /** Who listens to a connection on this road. Default: nobody. */
  readonly tap?: (road: Road) => Tap;
}

export interface DelayProxy {
  readonly port: number;
  close(): Promise<void>;
}

/** Listens on a free port of loopback. */
export async function startDelayProxy(options: DelayProxyOptions): Promise<DelayProxy> {
  const { target, road, tap } = options;
  const sockets = new Set<Socket>();
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => {});
    const taken = road(socket.remotePort ?? 0);
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
