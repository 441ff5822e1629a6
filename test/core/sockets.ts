/**
 * Client sockets without a network, for tests of the core: a resource that sends events, and
 * clients that record their frames.
 */
import { jsonCodec } from "../../adapters/http_wire/socket_codec.ts";
import type { Socket, SocketHandlers } from "../../src/ports/runtime.ts";
import {
  type App,
  type AtlasNode,
  type Connection,
  defineApp,
  Resource,
  type StopReason,
} from "../../mod.ts";
import { Gate, log } from "./cluster.ts";

/** Broadcasts what its callers ask for. */
export class Room extends Resource {
  override onConnect(connection: Connection): void {
    log.push(`${connection.resumed ? "back" : "in"} ${this.epoch}`);
    if (this.id.startsWith("closed")) throw new Error("nobody may come in");
  }

  override async onMessage(connection: Connection, data: unknown): Promise<void> {
    const count = ((await this.storage.get<number>("received")) ?? 0) + 1;
    await this.storage.put("received", count);
    if (data === "bye") connection.close("as you wish");
    else if (data === "whisper") connection.send("only you");
    else this.broadcast({ received: data });
  }

  override onDisconnect(): void {
    log.push("out");
    this.broadcast("somebody left");
  }

  override onStop(reason: StopReason): void {
    log.push(`stop ${this.id} ${reason}`);
  }

  /** Broadcasts `count` events, numbered in its state. */
  async publish(count: number = 1, size: number = 0): Promise<number> {
    let published = (await this.storage.get<number>("published")) ?? 0;
    for (let i = 0; i < count; i++) this.broadcast(size ? "x".repeat(size) : { n: ++published });
    await this.storage.put("published", published);
    return published;
  }

  async publishThenThrow(): Promise<void> {
    await this.publish();
    throw new Error("thrown on purpose");
  }

  async publishThenWait(gate: string): Promise<void> {
    this.broadcast("after the gate");
    log.push(`waiting ${gate}`);
    await Gate.of(gate).passed;
  }

  present(): number {
    return [...this.connections].length;
  }

  async received(): Promise<number> {
    return (await this.storage.get<number>("received")) ?? 0;
  }

  quick(): string {
    return "quick";
  }
}

export type RoomApp = App<
  { rooms: typeof Room; brief: { class: typeof Room; idleAfterMs: number } }
>;
export const roomApp: RoomApp = defineApp({
  resources: { rooms: Room, brief: { class: Room, idleAfterMs: 40 } },
});

// deno-lint-ignore no-explicit-any
type Frame = any;

/** A client with its end of a socket. */
export class Client {
  readonly frames: Frame[] = [];
  closed: { code: number; reason: string } | null = null;
  /** Bytes that it has not read. */
  unread = 0;
  readonly #handlers: SocketHandlers;
  readonly #socket: Socket;
  readonly #after: number | null;

  constructor(handlers: SocketHandlers, after: number | null = null) {
    this.#after = after;
    this.#handlers = handlers;
    this.#socket = {
      send: (data) => {
        if (this.closed === null) this.frames.push(JSON.parse(data as string));
      },
      buffered: () => this.unread,
      close: (code, reason) => this.end(code, reason),
    };
    handlers.open(this.#socket);
  }

  send(frame: unknown): void {
    this.#handlers.message(this.#socket, JSON.stringify(frame));
  }

  end(code: number = 1000, reason: string = ""): void {
    if (this.closed) return;
    this.closed = { code, reason };
    this.#handlers.close(this.#socket, code, reason);
  }

  get hellos(): Frame[] {
    return this.frames.filter(({ t }) => t === "hello");
  }

  get events(): Frame[] {
    return this.frames.filter(({ t }) => t === "event");
  }

  /** The number of the last event that it has got. */
  get last(): number {
    return this.frames.findLast(({ t }) => t !== "reply")?.seq;
  }

  /** What is wrong with the order of its frames; empty if nothing is. */
  get orderErrors(): string[] {
    const orderErrors: string[] = [];
    let last = this.#after;
    for (const { t, seq, gap } of this.frames) {
      if (t === "hello") {
        if (last === null || gap) last = seq;
        else if (seq < last) orderErrors.push(`hello ${seq} after ${last}`);
      } else if (t === "skip") {
        if (seq <= (last ?? 0)) orderErrors.push(`skip ${seq} after ${last}`);
        last = seq;
      } else if (t === "event") {
        if (seq !== (last ?? NaN) + 1) orderErrors.push(`event ${seq} after ${last}`);
        last = seq;
      }
    }
    return orderErrors;
  }
}

/** A client with a socket at a node. */
export function client(
  node: Pick<AtlasNode, "accept">,
  id: string,
  options: { after?: number; former?: string; type?: string } = {},
): Client {
  const { type = "rooms", ...given } = options;
  return new Client(node.accept(type, id, { codec: jsonCodec, ...given }), given.after);
}
