/**
 * The transport suite on both transports, on the runtime that runs this file.
 *
 * Covers adapters/transport/in_process.ts.
 */
import { detectRuntime } from "../../adapters/platform/detect.ts";
import { inProcessNetwork, inProcessTransport } from "../../adapters/transport/in_process.ts";
import { linkNetwork } from "./link_network.ts";
import { transportSuite } from "./transport.ts";

transportSuite("in process", async () => {
  const network = inProcessNetwork();
  return { transport: async () => inProcessTransport(network), close: async () => {} };
});

transportSuite(`websocket on ${(await detectRuntime()).name}`, () => linkNetwork());

transportSuite(
  "websocket with secrets",
  () => linkNetwork({ secret: "0123456789abcdef0123456789abcdef" }),
);
