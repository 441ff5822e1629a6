/**
 * The route of client sockets, `GET /v1/connect/{type}/{id}`. Checks a request, and hands its
 * WebSocket to the node with the codec that it asks for; errors are answered as on any other
 * route. Gives each connection an id and a secret, and checks the secret of one that is resumed.
 *
 * Browsers can't send headers with a WebSocket, so the token may also come as the subprotocol
 * `atlas.token.<token, percent-encoded>`, and the secret to resume a connection as
 * `atlas.resume.<secret>`: never in the query, which is logged.
 */
import { createHash, randomBytes } from "node:crypto";
import type { AtlasNode } from "../../src/api/node.ts";
import type { ConnectionIdentity } from "../../src/api/sockets.ts";
import { AtlasError } from "../../src/errors.ts";
import { MAX_BODY_BYTES, SOCKET_IDLE_MS } from "../../src/limits.ts";
import { quoted } from "../../src/model/options.ts";
import type { SocketHandlers, Upgrade } from "../../src/ports/runtime.ts";
import { noUpgrade } from "../http_wire/errors.ts";
import { callerRegionOf, queryOf, rawPath, resourceOf } from "../http_wire/inputs.ts";
import {
  JSON_PROTOCOL,
  jsonCodec,
  MSGPACK_PROTOCOL,
  msgpackCodec,
  offeredWith,
  protocolsOf,
  RESUME_PROTOCOL,
  TOKEN_PROTOCOL,
} from "../http_wire/socket_codec.ts";
import { bearerCheck } from "./auth.ts";

/** The beginning of the paths of client sockets. */
export const SOCKET_PATH = "/v1/connect/";
/** The pattern of the route. */
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
  const callerRegion = callerRegionOf(request.headers, node);
  return node.accept(type, id, {
    codec: offered.includes(MSGPACK_PROTOCOL) ? msgpackCodec : jsonCodec,
    identity: newIdentity(),
    ...optionsOf(queryOf(request, ["after", "connection"]), offered),
    ...callerRegion !== undefined && { callerRegion },
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

/** The path, if no further part follows the id. */
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

const SECRET_BYTES = 32;
/** Keeps digests for ids apart from any other use of SHA-256. */
const PURPOSE = "atlas connection 1 ";

/** The id of a new connection, and its secret: 256 random bits. */
export function newIdentity(): ConnectionIdentity {
  const resume = randomBytes(SECRET_BYTES).toString("base64url");
  return { id: idOf(resume), resume };
}

/**
 * The id of the former connection that a client resumes, after a proof that the connection is its
 * own.
 *
 * @throws AtlasError `bad_request` if it can't be an id, `forbidden` without its secret
 */
export function provenFormer(id: string, offered: readonly string[]): string {
  if (!/^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(id)) {
    const message = `query connection is ${quoted(id)}: it must be the id that a hello named`;
    throw new AtlasError("bad_request", message);
  }
  const given = offeredWith(RESUME_PROTOCOL, offered)?.slice(RESUME_PROTOCOL.length);
  if (given !== undefined && idOf(given) === id) return id;
  throw new AtlasError(
    "forbidden",
    given === undefined
      ? `resuming a connection needs the secret that its hello gave as \`resume\`, as the subprotocol ` +
        `${RESUME_PROTOCOL}<secret>; ?after= alone needs none`
      : `the secret in the subprotocol ${RESUME_PROTOCOL}… is not that of this connection`,
  );
}

/** The id that belongs to a secret: 122 bits of its SHA-256, as a UUID of version 8. */
function idOf(resume: string): string {
  const hex = createHash("sha256").update(PURPOSE + resume).digest("hex");
  const variant = "89ab".charAt(parseInt(hex.charAt(16), 16) & 3);
  const [version, rest] = [`8${hex.slice(13, 16)}`, `${variant}${hex.slice(17, 20)}`];
  return [hex.slice(0, 8), hex.slice(8, 12), version, rest, hex.slice(20, 32)].join("-");
}
