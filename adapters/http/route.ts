/** How rooms of the HTTP API hang their doors: a method, a pattern, and who answers. */
import { toJson } from "./json.ts";

/** Answers a request; `path` is its path as it came, still percent-encoded. */
export type Handler = (request: Request, path: string) => Response | Promise<Response>;

export type Add = (method: "GET" | "POST" | "DELETE", pattern: string, handler: Handler) => void;

/** A value as the JSON answer, under `headers`. */
export function json(
  value: unknown,
  status: number = 200,
  headers: Readonly<Record<string, string>> = {},
): Response {
  return new Response(toJson(value), {
    status,
    headers: { "content-type": "application/json", ...headers },
  });
}
