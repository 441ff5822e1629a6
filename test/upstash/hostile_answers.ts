/**
 * Hostile answers of an HTTP Redis: endless, compressed, redirecting, or of another shape. Takes a
 * kind of answer and a response to write it to, and counts its bytes.
 */
import type { ServerResponse } from "node:http";
import { gzipSync } from "node:zlib";
import type { HostileAnswer } from "./faults.ts";

const CHUNK = new Uint8Array(65_536).fill(0x20);
const DRIP_MS = 20;
/** Gzip members of the bomb, each of 16 MiB when it is inflated. */
const MEMBERS = 256;
const MEMBER_BYTES = 16_777_216;

export class HostileAnswers {
  readonly #elsewhere: string;
  #bomb: Uint8Array | null = null;
  sent = 0;

  constructor(elsewhere: string) {
    this.#elsewhere = elsewhere;
  }

  async send(kind: HostileAnswer, outgoing: ServerResponse): Promise<Response> {
    switch (kind) {
      case "moved":
      case "found":
        return new Response("", {
          status: kind === "moved" ? 307 : 302,
          headers: { location: this.#elsewhere },
        });
      case "shape":
        return Response.json([{ result: 1 }, { result: 2 }]);
      case "nulls":
        return Response.json(Array.from({ length: 100 }, () => null));
      case "scalar":
        return Response.json("OK");
    }
    const type = kind === "page"
      ? "text/html"
      : kind === "events"
      ? "text/event-stream"
      : JSON_TYPE;
    const encoding = kind === "bomb" ? { "content-encoding": "gzip" } : {};
    outgoing.writeHead(kind === "longError" ? 400 : 200, { "content-type": type, ...encoding });
    if (kind === "bomb") {
      this.#bomb ??= bomb();
      outgoing.end(this.#bomb);
    } else if (kind === "drip") this.#drip(outgoing);
    else this.#flood(outgoing);
    // The answer is written to Node's response above; nothing is returned.
    return await new Promise(() => {});
  }

  #flood(outgoing: ServerResponse): void {
    const more = (): void => {
      if (outgoing.destroyed || outgoing.socket?.destroyed !== false) return;
      this.sent += CHUNK.byteLength;
      if (outgoing.write(CHUNK)) setTimeout(more, 0);
      else outgoing.once("drain", more);
    };
    more();
  }

  #drip(outgoing: ServerResponse): void {
    const timer = setInterval(() => {
      if (outgoing.destroyed || outgoing.socket?.destroyed !== false) return clearInterval(timer);
      this.sent++;
      outgoing.write(" ");
    }, DRIP_MS);
  }
}

const JSON_TYPE = "application/json";

function bomb(): Uint8Array {
  const member = gzipSync(new Uint8Array(MEMBER_BYTES).fill(0x20));
  const all = new Uint8Array(member.length * MEMBERS);
  for (let i = 0; i < MEMBERS; i++) all.set(member, i * member.length);
  return all;
}
