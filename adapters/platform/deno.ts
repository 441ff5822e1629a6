/** Deno behind the `Runtime` port: its `node:http` and `ws` to serve, `ws` to dial. */
import { AtlasError } from "../../src/errors.ts";
import type { Runtime } from "../../src/ports/runtime.ts";
import { serveHttp } from "./http_server.ts";
import { dialWs } from "./ws_socket.ts";

/** The parts of Deno's own API that are used here. */
interface Deno {
  readonly version: { readonly deno: string };
}

/** Deno ≥ 2.9. */
export const runtime: Runtime = {
  name: "deno",
  get version(): string {
    const found = (globalThis as { Deno?: Deno }).Deno;
    if (!found) throw new AtlasError("bad_request", "this is not Deno");
    return found.version.deno;
  },
  serve: serveHttp,
  dial: dialWs,
};
