/**
 * Responses whose whole body is in memory. `node:http` can write it at once; reading it from the
 * Response's stream would cost more than the call.
 */

/** The property in which such a Response keeps its body. */
const BODY: unique symbol = Symbol("atlas.body");

type Plain = Response & { [BODY]?: string | Uint8Array<ArrayBuffer> };

export function plainResponse(
  body: string | Uint8Array<ArrayBuffer>,
  init: { status?: number; headers: Record<string, string> },
): Response {
  const response: Plain = new Response(body, init);
  response[BODY] = body;
  return response;
}

/** The body of a Response that {@link plainResponse} made and nobody has read; else undefined. */
export function bodyOf(response: Response): string | Uint8Array | undefined {
  return response.bodyUsed ? undefined : (response as Plain)[BODY];
}
