/** One client of a simulated room: connects, sends messages, leaves, or goes silent. */
import { jsonCodec } from "../../adapters/http_wire/socket_codec.ts";
import type { Scheduler } from "../../sim/engine/scheduler.ts";
import type { SimNode } from "../../sim/engine/world.ts";
import { SOCKET_IDLE_MS, SOCKET_PING_MS, SOCKET_SILENCE_MS } from "../../src/limits.ts";
import type { Socket, SocketHandlers } from "../../src/ports/runtime.ts";

/** An event of the room: its position in the room's journal, and its value. */
export interface Word {
  readonly n: number;
  readonly value: string;
}

/** A client's message: its own name and number. */
export interface Message {
  readonly who: string;
  readonly n: number;
}

/** Its connection, and whether the network drops everything. */
interface Line {
  readonly sim: SimNode;
  readonly socket: Socket;
  readonly handlers: SocketHandlers;
  isSilent: boolean;
}

/** A client of one room at one node; reconnects to the node's next process. */
export class Listener {
  readonly room: string;
  readonly words: Word[] = [];
  /** The id of its connection; null while it has none. */
  connection: string | null = null;
  /** The number of messages that it has sent under its current name. */
  said = 0;
  readonly #name: string;
  readonly #scheduler: Scheduler;
  readonly #report: (message: string) => void;
  readonly #numbers: Map<string, string>;
  #line: Line | null = null;
  #connects = 0;
  #seq: number | null = null;
  #heardAt = 0;
  #wasHealed = false;
  #isJoined = false;
  #gap = false;

  constructor(
    name: string,
    room: string,
    numbers: Map<string, string>,
    scheduler: Scheduler,
    report: (message: string) => void,
  ) {
    this.#name = name;
    this.room = room;
    this.#numbers = numbers;
    this.#scheduler = scheduler;
    this.#report = report;
  }

  get isConnected(): boolean {
    return this.#line !== null;
  }

  /** Whether its connection is open at both ends. */
  get stands(): boolean {
    return this.#line?.isSilent === false;
  }

  get isJoined(): boolean {
    return this.#isJoined;
  }

  /** Its name: another one for each connection. */
  get who(): string {
    return `${this.#name}-${this.#connects}`;
  }

  /** Connects through this process for as long as that lives. */
  connect(sim: SimNode): void {
    const { node, process } = sim;
    if (!node) return;
    const close = (code: number): void => {
      if (this.#line === line) this.#lost();
      queueMicrotask(() => line?.handlers.close(socket, code, ""));
    };
    const socket: Socket = {
      send: (data) => {
        if (line === null || this.#line !== line || line.isSilent) return;
        this.#heardAt = this.#scheduler.now;
        this.#hear(JSON.parse(data as string));
      },
      buffered: () => 0,
      close,
    };
    let line: Line | null = null;
    try {
      const after = this.#seq === null ? {} : { after: this.#seq };
      const handlers = node.accept("rooms", this.room, { codec: jsonCodec, ...after });
      line = { sim, socket, handlers, isSilent: false };
    } catch {
      return;
    }
    this.#line = line;
    this.#connects++;
    this.said = 0;
    this.#heardAt = this.#scheduler.now;
    process.onEnd(() => void (this.#line === line && this.#lost()));
    line.handlers.open(socket);
  }

  /** Sends this many messages, also if a silent network drops them. */
  say(count: number): void {
    const { who } = this;
    const line = this.#line;
    if (!line) return;
    for (let i = 0; i < count; i++) {
      const data: Message = { who, n: ++this.said };
      if (!line.isSilent) this.#send(line, { t: "message", data });
    }
  }

  /** Closes its connection. */
  leave(): void {
    const line = this.#line;
    if (!line) return;
    this.#lost();
    if (!line.isSilent) this.#end(line);
  }

  /**
   * From now on the network drops everything and reports that to neither end; the node's pings
   * detect it.
   */
  silence(): void {
    const line = this.#line;
    if (!line) return;
    line.isSilent = true;
    this.#scheduler.after(SOCKET_IDLE_MS, () => this.#end(line));
  }

  /** Closes a connection on which nothing arrives, as clients do. */
  look(isHealed: boolean, report: (message: string) => void): void {
    const { now } = this.#scheduler;
    if (isHealed && !this.#wasHealed) {
      this.#wasHealed = true;
      this.#heardAt = now;
    }
    const line = this.#line;
    if (!line) return;
    const silentMs = now - this.#heardAt;
    if (isHealed && this.#isJoined && !line.isSilent && silentMs > 1.5 * SOCKET_PING_MS) {
      report(`${this.who} heard nothing for ${Math.round(silentMs)} ms`);
      this.#heardAt = now;
    }
    if (silentMs > SOCKET_SILENCE_MS) this.leave();
  }

  #send({ sim, socket, handlers }: Line, frame: unknown): void {
    sim.process.enter(() => handlers.message(socket, JSON.stringify(frame)));
  }

  #end({ sim, socket, handlers }: Line): void {
    sim.process.enter(() => handlers.close(socket, 1000, ""));
  }

  #lost(): void {
    this.#line = null;
    this.#isJoined = false;
    this.connection = null;
  }

  // deno-lint-ignore no-explicit-any
  #hear(frame: any): void {
    if (frame.t === "hello") {
      this.#isJoined = true;
      this.connection = frame.connection;
      if (this.#seq === null || frame.gap) this.#seq = frame.seq;
      this.#gap ||= frame.gap;
      return;
    }
    if (frame.t === "ping") return;
    if (frame.t === "leave") return queueMicrotask(() => this.leave());
    if (frame.t !== "event") return this.#report(`a frame ${frame.t} came`);
    this.#heard(frame.seq, frame.data);
  }

  #heard(seq: number, data: Word): void {
    if (seq !== (this.#seq as number) + 1) {
      this.#report(`${this.room}: event ${seq} came after ${this.#seq}`);
    }
    this.#seq = seq;
    const text = JSON.stringify(data);
    const known = this.#numbers.get(`${this.room} ${seq}`);
    if (known !== undefined && known !== text) {
      this.#report(`${this.room}: event ${seq} is ${text} here and ${known} elsewhere`);
    }
    this.#numbers.set(`${this.room} ${seq}`, text);
    const before = this.words.at(-1)?.n ?? 0;
    if (data.n <= before || (!this.#gap && before > 0 && data.n !== before + 1)) {
      this.#report(`${this.room}: word ${data.n} came after ${before}, gap ${this.#gap}`);
    }
    this.#gap = false;
    this.words.push(data);
  }
}
