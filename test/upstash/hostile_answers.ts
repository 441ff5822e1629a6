/**
 * Malicious answers of an HTTP Redis: endless, compressed, redirecting, or of another shape. Takes
 * a kind of answer and a response to write it to, and counts its bytes.
 */
import type { ServerResponse } from "node:http";
import { gzipSync } from "node:zlib";
import type { Lie } from "./faults.ts";

const CHUNK = new Uint8Array(65_536).fill(0x20);
const DRIP_MS = 20;
/** Members of the bomb, each of 16 MiB when it is inflated. */
const MEMBERS = 256;
const MEMBER_BYTES = 16_777_216;

export class Liar {
  readonly #elsewhere: string;
  #bomb: Uint8Array | null = null;
  sent = 0;

  constructor(elsewhere: string) {
    this.#elsewhere = elsewhere;
  }

  async tell(lie: Lie, outgoing: ServerResponse): Promise<Response> {
    switch (lie) {
      case "moved":
      case "found":
        return new Response("", {
          status: lie === "moved" ? 307 : 302,
          headers: { location: this.#elsewhere },
        });
      case "shape":
        return Response.json([{ result: 1 }, { result: 2 }]);
      case "nulls":
        return Response.json(Array.from({ length: 100 }, () => null));
      case "scalar":
        return Response.json("OK");
    }
    const type = lie === "page" ? "text/html" : lie === "events" ? "text/event-stream" : JSON_TYPE;
    const encoding = lie === "bomb" ? { "content-encoding": "gzip" } : {};
    outgoing.writeHead(lie === "scolding" ? 400 : 200, { "content-type": type, ...encoding });
    if (lie === "bomb") {
      this.#bomb ??= bomb();
      outgoing.end(this.#bomb);
    } else if (lie === "drip") this.#drip(outgoing);
    else this.#flood(outgoing);
    // All is written past the listener.
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
