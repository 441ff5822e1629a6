/**
 * Decides what a node without a token or secret refuses, and which warnings it logs. Takes checked
 * settings; gives whether node links are refused, a transport that opens none, and the warnings.
 * Source: docs/security.md.
 */
import type { NodeEvent } from "../../src/api/node.ts";
import { AtlasError } from "../../src/errors.ts";
import type { Transport } from "../../src/ports/transport.ts";
import { isLoopback } from "../transport/link_address.ts";
import type { CheckedSettings } from "./environment.ts";

type Guards = Pick<CheckedSettings, "token" | "secrets">;

const NO_LINKS = "node links are refused, as ATLAS_TOKEN is set and ATLAS_SECRET is not";
const SET_SECRET = "set the same ATLAS_SECRET on all nodes";

/**
 * Whether a node opens and accepts no links. Without a secret anyone could open a link and make
 * calls over it without the token that callers of the HTTP API need.
 */
export function refusesLinks({ token, secrets }: Guards): boolean {
  return token !== undefined && secrets.length === 0;
}

/** The error of a refused link. */
export function linkRefusal(): AtlasError {
  return new AtlasError("forbidden", `${NO_LINKS}: ${SET_SECRET}`);
}

/** A transport that dials no peers: a peer that answered could call over that link, too. */
export function withoutLinks(transport: Transport): Transport {
  return {
    get address(): string {
      return transport.address;
    },
    open: (self, accept) => transport.open(self, accept),
    dial: () =>
      Promise.reject(
        new AtlasError("unavailable", `${NO_LINKS}: ${SET_SECRET}`, { retryable: false }),
      ),
    close: () => transport.close(),
  };
}

/** The warnings at the start of a node that others reach at `url`, as log events. */
export function accessWarnings(
  settings: Guards & Pick<CheckedSettings, "host">,
  url: string,
): NodeEvent[] {
  const warnings: NodeEvent[] = [];
  if (refusesLinks(settings)) {
    warnings.push({
      level: "warning",
      event: NO_LINKS,
      fields: { set: SET_SECRET, effect: "this node serves alone: calls to other nodes fail" },
    });
  }
  const isOpen = settings.token === undefined &&
    !(isLoopback(settings.host) && isLoopback(new URL(url).hostname));
  if (isOpen) {
    warnings.push({
      level: "warning",
      event:
        "anyone who reaches this node may call it: it serves beyond loopback without ATLAS_TOKEN",
      fields: { at: url, set: "ATLAS_TOKEN" },
    });
  }
  return warnings;
}
