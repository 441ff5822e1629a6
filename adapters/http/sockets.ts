/**
 * The route of client sockets, `GET /v1/connect/{type}/{id}`. Checks a request, and hands its
 * WebSocket to the node with the codec that it asks for; errors are answered as on any other
 * route.
 *
 * Browsers can't send headers with a WebSocket, so the token may also come as the subprotocol
 * `atlas.token.<token, percent-encoded>`, and the secret to resume a connection as
 * `atlas.resume.<secret>`: never in the query, which is logged.
 */
import type { AtlasNode } from "../../src/api/node.ts";
import { AtlasError } from "../../src/errors.ts";
import { MAX_BODY_BYTES, SOCKET_IDLE_MS } from "../../src/limits.ts";
import { quoted } from "../../src/model/options.ts";
import type { SocketHandlers, Upgrade } from "../../src/ports/runtime.ts";
import { bearerCheck } from "./auth.ts";
import { noUpgrade } from "../http_wire/errors.ts";
import { callerRegionOption, queryOf, rawPath, resourceOf } from "../http_wire/inputs.ts";
import { offeredWith, protocolsOf, RESUME_PROTOCOL, TOKEN_PROTOCOL } from "./protocols.ts";
import { newIdentity, provenFormer } from "./resume.ts";
import {
  JSON_PROTOCOL,
  jsonCodec,
  MSGPACK_PROTOCOL,
  msgpackCodec,
} from "../http_wire/socket_codec.ts";

/** Where paths of client sockets start. */
export const SOCKET_PATH = "/v1/connect/";
/** The pattern of the route, as others name theirs. */
export const SOCKET_ROUTE = "/v1/connect/:type/:id";

/** Turns requests into client sockets of a node. */
export function socketRoute(
  node: () => AtlasNode,
  token: string | undefined,
): (request: Request, upgrade: Upgrade) => Response {
  const allowed = token === undefined ? () => true : bearerCheck(token);
  return (request, upgrade) => {
    const offered = protocolsOf(request.headers);
    const withToken = offeredWith(TOKEN_PROTOCOL, offered);
    const given = request.headers.get("authorization") ?? bearerOf(withToken);
    if (!allowed(given)) {
      throw new AtlasError(
        "unauthorized",
        given === null
          ? "this needs the header Authorization: Bearer <token>, or the subprotocol " +
            `${TOKEN_PROTOCOL}<token>`
          : "the bearer token is wrong",
      );
    }
    const protocol = [MSGPACK_PROTOCOL, JSON_PROTOCOL].find((it) => offered.includes(it)) ??
      withToken ?? offeredWith(RESUME_PROTOCOL, offered);
    // A client that offers subprotocols expects one of them back.
    if (protocol === undefined && offered.length > 0) throw noProtocol(offered);
    return upgrade(accept(node(), request, offered), {
      protocol,
      maxFrameBytes: MAX_BODY_BYTES,
      idleMs: SOCKET_IDLE_MS,
    });
  };
}

/**
 * The answer to a plain request for a socket's path: why the socket would be refused, or else that
 * a WebSocket is required. Clients send it, since a WebSocket doesn't reveal why it was refused.
 */
export function refuse(node: AtlasNode, request: Request): never {
  accept(node, request, protocolsOf(request.headers));
  throw noUpgrade();
}

/** Handlers for the socket that a request asks for. */
function accept(node: AtlasNode, request: Request, offered: readonly string[]): SocketHandlers {
  const { type, id } = resourceOf(withoutEnd(rawPath(request)));
  return node.accept(type, id, {
    codec: offered.includes(MSGPACK_PROTOCOL) ? msgpackCodec : jsonCodec,
    identity: newIdentity(),
    ...optionsOf(queryOf(request, ["after", "connection"]), offered),
    ...callerRegionOption(request.headers, node),
  });
}

function noProtocol(offered: readonly string[]): AtlasError {
  const allowed =
    `${JSON_PROTOCOL}, ${MSGPACK_PROTOCOL}, ${TOKEN_PROTOCOL}<token> or ${RESUME_PROTOCOL}<secret>, ` +
    "or none for JSON";
  const message = `header Sec-WebSocket-Protocol is ${quoted(offered.join(", "))}`;
  return new AtlasError("bad_request", `${message}: it must offer ${allowed}`);
}

function bearerOf(protocol: string | undefined): string | null {
  if (protocol === undefined) return null;
  try {
    return `Bearer ${decodeURIComponent(protocol.slice(TOKEN_PROTOCOL.length))}`;
  } catch {
    throw new AtlasError("unauthorized", "the token in the subprotocol is not percent-encoded");
  }
}

/** The path, where nothing follows the id. */
function withoutEnd(path: string): string {
  if (path.split("/").length === 5) return path;
  throw new AtlasError("not_found", "the path of a socket is /v1/connect/{type}/{id}");
}

function optionsOf(
  query: URLSearchParams,
  offered: readonly string[],
): { after?: number; former?: string } {
  const after = query.get("after");
  const former = query.get("connection");
  if (after !== null && !/^\d{1,16}$/.test(after)) {
    const shown = JSON.stringify(after.slice(0, 40));
    throw new AtlasError("bad_request", `query after is ${shown}: it must be an event's number`);
  }
  return {
    ...after !== null && { after: Number(after) },
    ...former !== null && { former: provenFormer(former, offered) },
  };
}
