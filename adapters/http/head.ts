/**
 * HEAD like GET: the same status and headers, `Content-Length` included, without the content
 * (RFC 9110 §9.3.2). Takes what answers GET; gives what answers both.
 */

/** `answer`, which is asked for GET where HEAD was. Other methods pass through. */
export function withHead(
  answer: (request: Request) => Promise<Response>,
): (request: Request) => Promise<Response> {
  return async (request) => {
    if (request.method !== "HEAD") return await answer(request);
    const { url, headers: asked, signal } = request;
    const response = await answer(new Request(url, { method: "GET", headers: asked, signal }));
    const { status, headers } = response;
    if (!headers.has("content-length")) {
      headers.set("content-length", String((await response.arrayBuffer()).byteLength));
    } else await response.body?.cancel();
    return new Response(null, { status, headers });
  };
}
