/**
 * Raw requests over TCP that no regular client would send. Takes bytes for a node's HTTP socket;
 * gives everything received before the node closed the connection.
 */
import { connect } from "node:net";

export interface RawAnswer {
  /** 0 if the node closed the connection without an answer. */
  readonly status: number;
  readonly text: string;
}

/** Sends bytes to a node's port; gives everything received until the node closes. */
export function sendRaw(url: string, bytes: string | Uint8Array): Promise<RawAnswer> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve) => {
    const chunks: Uint8Array[] = [];
    const socket = connect(Number(port), hostname, () => socket.write(bytes));
    // A node may close while it is still being written to: its answer counts.
    socket.on("error", () => {});
    socket.setTimeout(10_000, () => socket.destroy());
    socket.on("data", (data) => chunks.push(data));
    socket.on("close", () => {
      const text = Buffer.concat(chunks).toString();
      resolve({ status: Number(/^HTTP\/1\.[01] (\d{3})/.exec(text)?.[1] ?? 0), text });
    });
  });
}

/** A request with this unchanged head; the connection ends with the answer. */
export function requestRaw(
  url: string,
  method: string,
  target: string,
  headers: readonly string[] = [],
  body: string = "",
): Promise<RawAnswer> {
  const head = [
    `${method} ${target} HTTP/1.1`,
    "host: localhost",
    "connection: close",
    ...(headers.some((line) => /^(?:content-length|transfer-encoding)/.test(line))
      ? []
      : [`content-length: ${Buffer.byteLength(body)}`]),
    ...headers,
  ];
  return sendRaw(url, `${head.join("\r\n")}\r\n\r\n${body}`);
}
