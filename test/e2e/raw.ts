/**
 * Requests and frames as no decent client would send them: a skeleton key for every
 * door of a node.
 *
 * Takes bytes for an HTTP socket, or frames for a WebSocket; gives what came back
 * before the node hung up.
 */
import { connect } from "node:net";
import { WebSocket } from "ws";

export interface RawAnswer {
  /** 0 where the node hung up without an answer. */
  readonly status: number;
  readonly text: string;
}

/** Sends bytes to a node's port and gives all that comes back until it hangs up. */
export function sendRaw(url: string, bytes: string | Uint8Array): Promise<RawAnswer> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve) => {
    const chunks: Uint8Array[] = [];
    const socket = connect(Number(port), hostname, () => socket.write(bytes));
    // A node may hang up while it is still being written to: what it said counts.
    socket.on("error", () => {});
    socket.setTimeout(10_000, () => socket.destroy());
    socket.on("data", (data) => chunks.push(data));
    socket.on("close", () => {
      const text = Buffer.concat(chunks).toString();
      resolve({ status: Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1] ?? 0), text });
    });
  });
}

/** A request whose head is written as it stands; the connection ends with the answer. */
export function requestRaw(
  url: string,
  method: string,
  target: string,
  headers: readonly string[] = [],
  body: string = "",
): Promise<RawAnswer> {
  const head = [
    `${method} ${target} HTTP/1.1`,
    "host: atlas",
    "connection: close",
    ...(headers.some((line) => /^(?:content-length|transfer-encoding)/.test(line))
      ? []
      : [`content-length: ${Buffer.byteLength(body)}`]),
    ...headers,
  ];
  return sendRaw(url, `${head.join("\r\n")}\r\n\r\n${body}`);
}

/** How a node closed a link, with what it had sent before. */
export interface LinkEnd {
  readonly code: number;
  readonly reason: string;
  readonly frames: Uint8Array[];
}

/**
 * Opens a socket at a node's link, sends frames, and gives its end. Each frame may be
 * made from what came so far.
 */
export function speakToLink(
  url: string,
  frames: readonly (string | Uint8Array)[],
): Promise<LinkEnd> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(`${url.replace(/^http/, "ws")}/atlas/link`);
    const received: Uint8Array[] = [];
    socket.on("message", (data) => received.push(new Uint8Array(data as Buffer)));
    socket.on("open", () => {
      for (const frame of frames) socket.send(frame);
    });
    socket.on("error", (error) => {
      // A node that closes with a protocol error may cut the socket off at once.
      if (socket.readyState === WebSocket.CONNECTING) reject(error);
    });
    socket.on("close", (code, reason) => {
      resolve({ code, reason: reason.toString(), frames: received });
    });
  });
}
