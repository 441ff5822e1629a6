/**
 * Answers whose whole body is in memory, as records and as Responses. `node:http` can write such a
 * Response at once; reading it from the Response's stream would cost more than the call.
 */
import type { PlainAnswer } from "../../src/ports/runtime.ts";

/** The property in which such a Response keeps its body. */
const BODY: unique symbol = Symbol("atlas.body");

type Plain = Response & { [BODY]?: PlainAnswer["body"] };

/** The answer as a Response. */
export function responseOf({ status, headers, body }: PlainAnswer): Response {
  const response: Plain = new Response(body, { status, headers });
  response[BODY] = body;
  return response;
}

/** The body of a Response that {@link responseOf} made and nobody has read; else undefined. */
export function bodyOf(response: Response): PlainAnswer["body"] | undefined {
  return response.bodyUsed ? undefined : (response as Plain)[BODY];
}
