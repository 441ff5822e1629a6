/**
 * Client sockets without a network, for tests of the core: a resource that talks, and
 * clients that write down what they hear.
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

/** Says what it is told to. */
export class Room extends Resource {
  override onConnect(connection: Connection): void {
    log.push(`${connection.resumed ? "back" : "in"} ${this.epoch}`);
    if (this.id.startsWith("closed")) throw new Error("nobody may come in");
  }

  override async onMessage(connection: Connection, data: unknown): Promise<void> {
    const count = ((await this.storage.get<number>("heard")) ?? 0) + 1;
    await this.storage.put("heard", count);
    if (data === "bye") connection.close("as you wish");
    else if (data === "whisper") connection.send("only you");
    else this.broadcast({ heard: data });
  }

  override onDisconnect(): void {
    log.push("out");
    this.broadcast("somebody left");
  }

  override onStop(reason: StopReason): void {
    log.push(`stop ${this.id} ${reason}`);
  }

  /** Says `count` things, counted on in its state. */
  async say(count: number = 1, size: number = 0): Promise<number> {
    let said = (await this.storage.get<number>("said")) ?? 0;
    for (let i = 0; i < count; i++) this.broadcast(size ? "x".repeat(size) : { n: ++said });
    await this.storage.put("said", said);
    return said;
  }

  async sayThenThrow(): Promise<void> {
    await this.say();
    throw new Error("thrown on purpose");
  }

  async sayThenWait(gate: string): Promise<void> {
    this.broadcast("after the gate");
    log.push(`waiting ${gate}`);
    await Gate.of(gate).passed;
  }

  present(): number {
    return [...this.connections].length;
  }

  async heard(): Promise<number> {
    return (await this.storage.get<number>("heard")) ?? 0;
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
  /** Bytes that it doesn't read. */
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

  say(frame: unknown): void {
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

  /** The number of the last event that it has had. */
  get last(): number {
    return this.frames.findLast(({ t }) => t !== "reply")?.seq;
  }

  /** What is wrong with the order of what it heard; empty where nothing is. */
  get troubles(): string[] {
    const troubles: string[] = [];
    let last = this.#after;
    for (const { t, seq, gap } of this.frames) {
      if (t === "hello") {
        if (last === null || gap) last = seq;
        else if (seq < last) troubles.push(`hello ${seq} after ${last}`);
      } else if (t === "skip") {
        if (seq <= (last ?? 0)) troubles.push(`skip ${seq} after ${last}`);
        last = seq;
      } else if (t === "event") {
        if (seq !== (last ?? NaN) + 1) troubles.push(`event ${seq} after ${last}`);
        last = seq;
      }
    }
    return troubles;
  }
}

/** A client at a node's door. */
export function client(
  node: Pick<AtlasNode, "accept">,
  id: string,
  options: { after?: number; former?: string; type?: string } = {},
): Client {
  const { type = "rooms", ...given } = options;
  return new Client(node.accept(type, id, { codec: jsonCodec, ...given }), given.after);
}
