/**
 * A handshake that the dialler aborts when the acceptor already has the link: requests of the
 * acceptor over it fail as not read.
 *
 * Covers adapters/transport/link_life.ts.
 */
import { expect, it } from "vitest";
import { importKeys } from "../../adapters/transport/link_handshake.ts";
import { LinkLife } from "../../adapters/transport/link_life.ts";
import { LinkRefusals } from "../../adapters/transport/link_refusals.ts";
import { LinkSlots } from "../../adapters/transport/link_slots.ts";
import type { Socket, SocketHandlers } from "../../src/ports/runtime.ts";
import type { Link } from "../../src/ports/transport.ts";
import { fakeClock } from "../../testing.ts";
import { identity } from "../conformance/transport.ts";

const HANDSHAKE_MS = 5_000;
const ADDRESS = "ws://127.0.0.1:1/atlas/link";

/** Two ends of a socket; frames to the dialler wait while `holds` says so. */
function wire(near: SocketHandlers, far: (socket: Socket) => SocketHandlers) {
  const it = { holds: false };
  const ends: { near: Socket; far: Socket; acceptor?: SocketHandlers } = {
    near: {
      send: (data) => void ends.acceptor?.message(ends.far, data),
      buffered: () => 0,
      close: (code, reason) => void ends.acceptor?.close(ends.far, code, reason),
    },
    far: {
      send: (data) => void (it.holds || near.message(ends.near, data)),
      buffered: () => 0,
      close: (code, reason) => near.close(ends.near, code, reason),
    },
  };
  ends.acceptor = far(ends.far);
  ends.acceptor.open(ends.far);
  near.open(ends.near);
  return it;
}

it.each([
  ["it takes too long", "the handshake took over 5000 ms"],
  ["its node gets another incarnation", "another incarnation"],
])("tells the acceptor that nothing was read, if %s", async (_title, why) => {
  const clock = fakeClock();
  const keys = await importKeys(["a".repeat(32)]);
  const accepted: Link[] = [];
  const lifeOf = (name: string, far: LinkLife | null): LinkLife =>
    new LinkLife({
      self: identity(name),
      keys,
      clock,
      slots: new LinkSlots(clock),
      refusals: new LinkRefusals(clock, () => {}),
      isOwn: (address) => address === ADDRESS,
      accept: (link) => {
        accepted.push(link);
      },
      runtime: {
        dial: (_url, handlers) => {
          const line = wire(handlers, (socket) => (far as LinkLife).accept(socket));
          // The challenge arrives, the welcome does not.
          const challenged = handlers.message.bind(handlers);
          handlers.message = (socket, data) => {
            challenged(socket, data);
            line.holds = true;
          };
          return Promise.resolve() as never;
        },
      },
    });
  const acceptor = lifeOf("bob", null);
  const dialler = lifeOf("ann", acceptor);
  const anyone = { region: "*", node: "*", incarnation: "*" };
  const dialled = dialler.dial(ADDRESS, anyone).catch((error) => error);
  await expect.poll(() => accepted.length).toBe(1);
  const closes: unknown[] = [];
  accepted[0]?.start({
    message: () => {},
    close: (reason, isUnread) => void closes.push([reason, isUnread]),
  });
  expect(accepted[0]?.send([1], ""), "it may ask at once").toBe(true);

  if (why === "another incarnation") dialler.end(why);
  else await clock.advance(HANDSHAKE_MS);
  expect(await dialled).toMatchObject({ code: "unavailable" });
  await expect.poll(() => closes).toEqual([[why, true]]);
});
