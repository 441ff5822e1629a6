/**
 * Covers the dials of src/links/links.ts: concurrent dials of a node to one address share one link.
 */
import { expect, test } from "vitest";
import { AtlasError, type Link, type Peer, type Transport } from "../../mod.ts";
import { ANYONE } from "../../src/ports/transport.ts";
import type { NodeLife } from "../../src/registry/lease.ts";
import { Links } from "../../src/links/links.ts";

const PEER: Peer = { region: "r", node: "peer", incarnation: "peer-1", address: "x://peer" };
const FORMER: Peer = { ...PEER, incarnation: "peer-0" };
const LIFE = { incarnation: "here-1" } as NodeLife;

/** Links whose dials a test answers. */
function dialler() {
  const dials: { wanted: string; answer: (peer: Peer) => void; fail: () => void }[] = [];
  const transport = {
    address: "x://here",
    dial: ({ incarnation }) =>
      new Promise<Link>((resolve, reject) => {
        const link = { start() {}, send: () => true, close() {} };
        dials.push({
          wanted: incarnation,
          answer: (peer) => resolve({ ...link, peer }),
          fail: () => reject(new AtlasError("unavailable", "nobody answers")),
        });
      }),
  } as Transport;
  const nothing = () => {};
  const links = new Links(transport, {
    request: nothing,
    cancel: nothing,
    toProcess: nothing,
    closed: nothing,
    reachable: nothing,
    unreachable: nothing,
  });
  return { links, dials };
}

const settled = async (): Promise<void> => {
  for (let turn = 0; turn < 20; turn++) await Promise.resolve();
};

test("dialling an address while a member there is being dialled shares the link", async () => {
  const { links, dials } = dialler();
  const [dialled, met] = [links.to(PEER, LIFE), links.dialAddress(PEER.address, LIFE)];
  await settled();
  expect(dials).toHaveLength(1);
  dials[0]?.answer(PEER);
  expect(await met).toBe(await dialled);
  expect(links.size).toBe(1);
});

test("dialling a member while its address is being dialled shares the link", async () => {
  const { links, dials } = dialler();
  const [met, dialled] = [links.dialAddress(PEER.address, LIFE), links.to(PEER, LIFE)];
  await settled();
  expect(dials.map(({ wanted }) => wanted)).toEqual([ANYONE]);
  dials[0]?.answer(PEER);
  expect(await dialled).toBe(await met);
  expect(links.size).toBe(1);
});

test("if another node answered, or the dial failed, the member is dialled again", async () => {
  const { links, dials } = dialler();
  const [met, dialled] = [links.dialAddress(PEER.address, LIFE), links.to(PEER, LIFE)];
  dials[0]?.answer(FORMER);
  expect((await met)?.peer.incarnation).toBe(FORMER.incarnation);
  await settled();
  expect(dials[1]?.wanted).toBe(PEER.incarnation);
  dials[1]?.answer(PEER);
  expect((await dialled).peer.incarnation).toBe(PEER.incarnation);

  const other = dialler();
  const former = other.links.to(FORMER, LIFE);
  const present = other.links.dialAddress(PEER.address, LIFE);
  other.dials[0]?.fail();
  await expect(former).rejects.toMatchObject({ code: "unavailable" });
  await settled();
  expect(other.dials[1]?.wanted).toBe(ANYONE);
  other.dials[1]?.answer(PEER);
  expect((await present)?.peer.incarnation).toBe(PEER.incarnation);
});

test("a failed dial of an address fails the dial of a member there", async () => {
  const { links, dials } = dialler();
  const [met, dialled] = [links.dialAddress(PEER.address, LIFE), links.to(PEER, LIFE)];
  dials[0]?.fail();
  await expect(met).rejects.toMatchObject({ code: "unavailable" });
  await expect(dialled).rejects.toMatchObject({ code: "unavailable" });
  expect(dials).toHaveLength(1);
});
