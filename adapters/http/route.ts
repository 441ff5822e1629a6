/** How routes of the HTTP API are declared (method, pattern, handler), and their JSON answers. */
import { toJson } from "../http_wire/json.ts";
import { plainResponse } from "./plain_response.ts";

/** Answers a request; `path` is its path as it came, still percent-encoded. */
export type Handler = (request: Request, path: string) => Response | Promise<Response>;

export type Add = (method: "GET" | "POST" | "DELETE", pattern: string, handler: Handler) => void;

/** A value as the JSON answer, under `headers`. */
export function json(
  value: unknown,
  status: number = 200,
  headers: Readonly<Record<string, string>> = {},
): Response {
  return plainResponse(toJson(value), {
    status,
    headers: { "content-type": "application/json", ...headers },
  });
}

/**
 * A call's result and its owner, as the JSON answer. JSON has no undefined, so such a result is null.
 */
export function resultJson(
  answer: { readonly result: unknown; readonly [origin: string]: unknown },
  headers: Readonly<Record<string, string>> = {},
): Response {
  return json({ ...answer, result: answer.result ?? null }, 200, headers);
}
