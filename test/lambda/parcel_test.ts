/** What letters are addressed with and what they carry, on the way in and on the way out. */
import { expect, test } from "vitest";
import { AddressCache, addressOf } from "../../src/lambda/bus/address.ts";
import { bytesOf, decodePayload, payloadOf } from "../../src/lambda/bus/payload.ts";
import { pack } from "../../src/model/value.ts";

test("an address book gives what was put together and taken apart, however much it was asked", () => {
  const book = new AddressCache();
  const wrong: string[] = [];
  for (let n = 0; n < 40_000; n++) {
    const [node, part] = [n % 3 ? `node-${n % 7}` : "", `channel.${n}`];
    const address = book.join(node, part);
    const [here, there] = [book.split(address), book.split(addressOf("elsewhere", part))];
    const told = [address, here.node, here.process, there.node, there.process].join();
    if (told !== [`${node}/${part}`, node, part, "elsewhere", part].join()) wrong.push(told);
  }
  expect(wrong).toEqual([]);
  expect(book.join("", "broker")).toBe("/broker");
  expect(book.split("/")).toEqual({ node: "", process: "" });
});

test("a body that came keeps nothing of the bytes it came in", () => {
  const bytes = pack(["π", new Uint8Array([1, 2, 3])]);
  const body = payloadOf(bytes);
  bytes.fill(0xc1);
  expect(decodePayload(body)).toEqual(["π", new Uint8Array([1, 2, 3])]);
  expect(bytesOf(body)).toEqual(pack(["π", new Uint8Array([1, 2, 3])]));
});

test("a body that can't be read says so to who opens it, and to nobody before", () => {
  for (const bytes of [[0xc1], [0x93, 1], [1, 1], []]) {
    const body = payloadOf(new Uint8Array(bytes));
    expect(() => decodePayload(body)).toThrow(/MessagePack/);
  }
});
