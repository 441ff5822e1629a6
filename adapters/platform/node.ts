/** Node behind the `Runtime` port: `node:http` and `ws` to serve, `ws` to dial. */
import process from "node:process";
import type { Runtime } from "../../src/ports/runtime.ts";
import { serveHttp } from "./http_server.ts";
import { dialWs } from "./ws_socket.ts";

/** Node ≥ 22. */
export const runtime: Runtime = {
  name: "node",
  version: process.versions.node,
  serve: serveHttp,
  dial: dialWs,
};
