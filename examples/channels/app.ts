/**
 * The example app: chat channels, and sessions of their users.
 *
 * A channel keeps its messages in order. A session remembers which channel its user is in. Each of
 * them has one owner in the whole cluster at any time, so `seq` never repeats or skips a number,
 * even if callers use different nodes and nodes die. Clients may call a channel, or connect to it
 * and get each message as an event. Each node also offers the module `calc`.
 */
import { type App, type Connection, defineApp, Resource } from "../../mod.ts";
import { calc } from "../calc/calc.ts";

/** A message as it is stored and broadcast. */
export interface ChannelMessage {
  seq: number;
  from: string;
  text: string;
}

/** A channel: stores messages, and returns them in order. */
export class Channel extends Resource {
  /** Adds a message and returns its number. The first message has the number 1. */
  async send(from: string, text: string): Promise<{ seq: number; epoch: number }> {
    const seq = ((await this.storage.get<number>("seq")) ?? 0) + 1;
    await this.storage.put("seq", seq);
    await this.storage.put(messageKey(seq), { from, text });
    // Every connection gets this event after the turn is committed.
    this.broadcast({ seq, from, text } satisfies ChannelMessage);
    return { seq, epoch: this.epoch };
  }

  /** Adds a message `{ from, text }` that a client sent on its connection. Ignores all others. */
  override async onMessage(_connection: Connection, data: unknown): Promise<void> {
    const { from, text } = Object(data) as Record<string, unknown>;
    if (typeof from === "string" && typeof text === "string") await this.send(from, text);
  }

  /** The messages with numbers above `sinceSeq`, oldest first; at most 10,000. */
  async history(sinceSeq: number = 0): Promise<ChannelMessage[]> {
    const kept = await this.storage.list<{ from: string; text: string }>({
      prefix: "m:",
      start: messageKey(sinceSeq + 1),
    });
    return Array.from(kept, ([key, { from, text }]) => ({ seq: Number(key.slice(2)), from, text }));
  }

  /** The node and region that own this channel now. */
  async whereami(): Promise<{ rrp: string; node: string; region: string; epoch: number }> {
    const [region = "", node = ""] = this.rrp.slice("rrp:".length).split("/");
    return { rrp: this.rrp, node, region, epoch: this.epoch };
  }
}

/** The state of a session. */
export interface SessionInfo {
  id: string;
  /** The channel that the session is attached to; null if there is none. */
  channelId: string | null;
  rrp: string;
  epoch: number;
}

/** A user's session: remembers one channel at a time. */
export class Session extends Resource {
  /** Attaches the session to a channel instead of the one before. */
  async attach(channelId: string): Promise<SessionInfo> {
    await this.storage.put("channelId", channelId);
    return await this.info();
  }

  /** Detaches the session from its channel, if there is one. */
  async detach(): Promise<SessionInfo> {
    await this.storage.delete("channelId");
    return await this.info();
  }

  /** The channel that the session is attached to, and the RRP of the session. */
  async info(): Promise<SessionInfo> {
    const channelId = (await this.storage.get<string>("channelId")) ?? null;
    return { id: this.id, channelId, rrp: this.rrp, epoch: this.epoch };
  }
}

/** The storage key of a message. Padded with zeros, so that keys sort in the order of numbers. */
function messageKey(seq: number): string {
  return `m:${String(seq).padStart(15, "0")}`;
}

const app: App<
  { channels: typeof Channel; sessions: typeof Session },
  { calc: typeof calc }
> = defineApp({
  resources: { channels: Channel, sessions: Session },
  modules: { calc },
});
export default app;
