/**
 * Sockets of the `ws` package as the port's sockets. Used if the runtime's own WebSocket is missing
 * (Node) or slow to send (Deno's client holds frames over 1 KiB back for 40 ms).
 *
 * Takes a `ws` socket, either end, or a URL to dial; gives a guarded socket.
 */
import process from "node:process";
import { WebSocket } from "ws";
import { AtlasError } from "../../src/errors.ts";
import { redirectTo } from "../../src/model/redirect.ts";
import type { DialOptions, Socket, SocketHandlers } from "../../src/ports/runtime.ts";
import { GuardedSocket, type RawSocket } from "./guarded_socket.ts";

/** The parts of a `ws` socket that are used here. */
export interface WsLike {
  readonly bufferedAmount: number;
  send(data: string | Uint8Array): void;
  close(code: number, reason: string): void;
  terminate(): void;
  on(event: "message", listener: (data: Uint8Array, isBinary: boolean) => void): unknown;
  on(event: "close", listener: (code: number, reason: Uint8Array) => void): unknown;
  on(event: "error", listener: (error: Error) => void): unknown;
}

/** The parts of the connection under it that are used here. */
export interface Corkable {
  cork(): void;
  uncork(): void;
}

const decoder: TextDecoder = new TextDecoder();

/**
 * Wraps a `ws` socket. `masks`: the socket is the dialling end, which copies what it sends. A
 * serving end may still read the bytes after `send` has returned, so they are copied here.
 *
 * @param connection if given, the frames of one tick are written to it at once.
 */
export function guardWs(
  ws: WsLike,
  masks: boolean,
  handlers: SocketHandlers,
  maxFrameBytes: number,
  remote?: string,
  connection?: Corkable,
): GuardedSocket {
  let isCorked = false;
  const uncork = (): void => {
    isCorked = false;
    connection?.uncork();
  };
  const raw: RawSocket = {
    send(data) {
      if (connection && !isCorked) {
        isCorked = true;
        connection.cork();
        process.nextTick(uncork);
      }
      ws.send(masks || typeof data === "string" ? data : new Uint8Array(data));
      return true;
    },
    buffered: () => ws.bufferedAmount,
    close: (code, reason) => ws.close(code, reason),
    terminate: () => ws.terminate(),
  };
  const socket = new GuardedSocket(raw, handlers, maxFrameBytes, remote);
  ws.on("message", (data, isBinary) => {
    // A plain view: a Buffer's own methods answer slower, and slice() shares its bytes.
    socket.received(
      isBinary
        ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
        : decoder.decode(data),
    );
  });
  ws.on("close", (code, reason) => socket.ended(code, decoder.decode(reason)));
  // `ws` waits 30 s for the peer's close frame, and discards what comes until then.
  ws.on("error", () => socket.failed());
  return socket;
}

/** Dials with `ws`: no redirects, no compression. See the port's `dial`. */
export function dialWs(
  url: string,
  handlers: SocketHandlers,
  options: DialOptions,
): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const ws = new WebSocket(url, {
      perMessageDeflate: false,
      followRedirects: false,
      handshakeTimeout: Math.max(1, options.timeoutMs),
      maxPayload: options.maxFrameBytes,
    });
    const socket = guardWs(ws as WsLike, true, handlers, options.maxFrameBytes);
    ws.on("open", () => {
      socket.opened();
      resolve(socket);
    });
    ws.on("unexpected-response", (request, { statusCode = 0, headers: { location = null } }) => {
      const redirect = redirectTo(statusCode, location, url.replace(/^ws/, "http"));
      const why = redirect === null ? `answers HTTP ${statusCode}` : `${redirect}, not followed`;
      reject(new AtlasError("unavailable", `can't dial ${url}: it ${why}`));
      request.destroy();
    });
    ws.on("error", (cause: Error) => {
      reject(new AtlasError("unavailable", `can't dial ${url}: ${cause.message}`, { cause }));
    });
    ws.on("close", () => {
      reject(new AtlasError("unavailable", `can't dial ${url}: it closed while connecting`));
    });
  });
}
