/**
 * Raw TCP connections to a node, limited in number, that send only what an input writes. They can
 * be half closed, reset or kept open; received bytes are kept.
 *
 * They use other loopback addresses than the well-behaved callers, so that limits per address do
 * not affect those.
 */
import { connect, type Socket } from "node:net";
import { MAX_KEPT_BYTES, WRITE_MS } from "./bounds.ts";

/** For how many ticks the number of held connections is remembered. */
const REMEMBERED = 16;

/** One connection. */
export class RawConnection {
  /** Whether the node closed its side, or the connection is gone. */
  isOver = false;
  readonly #socket: Socket;
  #chunks: Buffer[] = [];
  #kept = 0;
  #wake: Set<() => void> = new Set();

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on("error", () => {});
    socket.on("data", (data: Buffer) => {
      if (this.#kept < MAX_KEPT_BYTES) this.#chunks.push(data);
      this.#kept += data.length;
      this.#stir();
    });
    for (const event of ["end", "close"]) {
      socket.on(event, () => {
        this.isOver = true;
        this.#stir();
      });
    }
    for (const event of ["drain", "connect"]) socket.on(event, () => this.#stir());
  }

  /** All bytes received, up to a bound. */
  get bytes(): Buffer {
    if (this.#chunks.length > 1) this.#chunks = [Buffer.concat(this.#chunks)];
    return this.#chunks[0] ?? Buffer.alloc(0);
  }

  /** Writes, and waits until the node has read it, with a time limit. False if it has not. */
  async write(data: Uint8Array | string): Promise<boolean> {
    if (this.#socket.destroyed || this.#socket.writableEnded) return false;
    const bytes = typeof data === "string" ? Buffer.from(data, "latin1") : data;
    if (this.#socket.write(bytes)) return true;
    return await this.#waitFor(() => !this.#socket.writableNeedDrain, WRITE_MS);
  }

  /** Waits until the received bytes meet the condition; false if they don't within `ms`. */
  until(condition: (bytes: Buffer) => boolean, ms: number): Promise<boolean> {
    return this.#waitFor(() => condition(this.bytes), ms);
  }

  /** Waits until the node closes its side, `ms` at most. */
  async over(ms: number): Promise<boolean> {
    await this.#waitFor(() => false, ms);
    return this.isOver;
  }

  /** Stops reading, or resumes it. */
  pause(): void {
    this.#socket.pause();
  }
  resume(): void {
    this.#socket.resume();
  }

  /** Closes this side only. */
  half(): void {
    this.#socket.end();
  }

  /** Resets the connection. */
  reset(): void {
    this.#socket.resetAndDestroy();
  }

  /** Closes the connection. */
  close(): void {
    this.#socket.destroy();
  }

  #stir(): void {
    for (const wake of [...this.#wake]) wake();
  }

  #waitFor(condition: () => boolean, ms: number): Promise<boolean> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#wake.delete(look);
        resolve(condition());
      };
      const look = (): void => {
        if (condition() || this.isOver || this.#socket.destroyed) done();
      };
      const timer = setTimeout(done, ms);
      this.#wake.add(look);
      look();
    });
  }
}

/** All connections of a run to one node. */
export class RawConnections {
  readonly #port: number;
  readonly #open: Set<Socket> = new Set();
  /** The most connections that were open between two ticks. */
  readonly #most: number[] = [0];
  /** The number of connections opened so far. */
  opened = 0;

  constructor(port: number) {
    this.#port = port;
  }

  /** The number of open connections. */
  get held(): number {
    return this.#open.size;
  }

  /** The most connections that were open at once in the last few seconds. */
  get recentlyHeld(): number {
    return Math.max(...this.#most);
  }

  /** Call this with every measurement of the node. */
  tick(): void {
    this.#most.push(this.held);
    if (this.#most.length > REMEMBERED) this.#most.shift();
  }

  /** Opens a connection; writes wait until it is established. */
  open(): RawConnection {
    this.opened++;
    const socket = connect({
      port: this.#port,
      host: "127.0.0.1",
      localAddress: `127.0.0.${2 + this.opened % 8}`,
      allowHalfOpen: true,
    });
    this.#open.add(socket);
    socket.once("close", () => this.#open.delete(socket));
    const last = this.#most.length - 1;
    this.#most[last] = Math.max(this.#most[last] as number, this.held);
    return new RawConnection(socket);
  }

  closeAll(): void {
    for (const socket of this.#open) socket.destroy();
  }
}
