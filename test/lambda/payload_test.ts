/**
 * Covers src/lambda/bus/payload.ts and address.ts: payloads and addresses of messages, in both
 * directions.
 */
import { expect, test } from "vitest";
import { AddressCache, addressOf } from "../../src/lambda/bus/address.ts";
import { bodyOf, decodePayload, payloadOf } from "../../src/lambda/bus/payload.ts";
import { pack } from "../../src/model/value.ts";

test("the address cache joins and splits correctly, also after it was cleared", () => {
  const cache = new AddressCache();
  const wrong: string[] = [];
  for (let n = 0; n < 40_000; n++) {
    const [node, process] = [n % 3 ? `node-${n % 7}` : "", `channel.${n}`];
    const address = cache.join(node, process);
    const [here, there] = [cache.split(address), cache.split(addressOf("elsewhere", process))];
    const actual = [address, here.node, here.process, there.node, there.process].join();
    if (actual !== [`${node}/${process}`, node, process, "elsewhere", process].join()) {
      wrong.push(actual);
    }
  }
  expect(wrong).toEqual([]);
  expect(cache.join("", "broker")).toBe("/broker");
  expect(cache.split("/")).toEqual({ node: "", process: "" });
});

test("a body from a link keeps none of the bytes it arrived in", () => {
  const bytes = pack(["π", new Uint8Array([1, 2, 3])]);
  const body = payloadOf(bytes);
  bytes.fill(0xc1);
  expect(decodePayload(body)).toEqual(["π", new Uint8Array([1, 2, 3])]);
  expect(bodyOf(body)).toEqual(pack(["π", new Uint8Array([1, 2, 3])]));
});

test("a body of text is passed on, and decoded when it is read", () => {
  const body = payloadOf('["π",{"a":1}]');
  expect(bodyOf(body)).toBe('["π",{"a":1}]');
  expect(decodePayload(body)).toEqual(["π", { a: 1 }]);
  expect(decodePayload(payloadOf(""))).toBeUndefined();
  for (const text of ["[", '{"__proto__":1}', "[".repeat(65) + "]".repeat(65) + " ".repeat(99)]) {
    expect(() => decodePayload(payloadOf(text))).toThrow("the body is not valid");
  }
});

test("an invalid body throws only when it is read", () => {
  for (const bytes of [[0xc1], [0x93, 1], [1, 1]]) {
    const body = payloadOf(new Uint8Array(bytes));
    expect(() => decodePayload(body)).toThrow(/MessagePack/);
  }
});
