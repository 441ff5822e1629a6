/**
 * Writes WebSocket frames byte by byte, also such as no library would. Source: RFC 6455 §5.2.
 */

/** What a WebSocket handshake has beside the request line and `Host` (RFC 6455 §1.3). */
export const UPGRADE_HEADERS: string = "Connection: Upgrade\r\nUpgrade: websocket\r\n" +
  "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";

/** A client's frame, masked with zeros, whose payload is therefore sent as it is. */
export function frame(
  opcode: number,
  payload: Uint8Array,
  { fin = true }: { fin?: boolean } = {},
): Uint8Array {
  const { length } = payload;
  const extended = length < 126 ? 0 : length < 65_536 ? 2 : 8;
  const bytes = new Uint8Array(2 + extended + 4 + length);
  const view = new DataView(bytes.buffer);
  bytes[0] = (fin ? 0x80 : 0) | opcode;
  bytes[1] = 0x80 | (extended === 0 ? length : extended === 2 ? 126 : 127);
  if (extended === 2) view.setUint16(2, length);
  if (extended === 8) view.setBigUint64(2, BigInt(length));
  bytes.set(payload, bytes.length - length);
  return bytes;
}
