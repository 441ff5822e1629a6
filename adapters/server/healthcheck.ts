/**
 * The health check of containers: asks this machine's node for `/healthz`.
 *
 * Reads `ATLAS_HOST` and `PORT` as the node does; the exit status is 0 if `/healthz` succeeds
 * within 3 s, else 1, with the reason in one line.
 */
import process from "node:process";
import { messageOf } from "../../src/errors.ts";
import { urlOf } from "../config/hosts.ts";

/** A check that hangs must fail before the timeout of its caller. */
const TIMEOUT_MS = 3_000;

const host = (process.env["ATLAS_HOST"] || "127.0.0.1").replace(/^\[(.*)\]$/, "$1");
const everywhere = host === "0.0.0.0" || host === "::";
const url = urlOf(everywhere ? "127.0.0.1" : host, Number(process.env["PORT"] || 8080));
try {
  const { status, ok } = await fetch(`${url}/healthz`, { signal: AbortSignal.timeout(TIMEOUT_MS) });
  if (!ok) throw new Error(`it answers with status ${status}`);
  process.exitCode = 0;
} catch (error) {
  process.stderr.write(`the node at ${url} is unhealthy: ${messageOf(error)}\n`);
  process.exitCode = 1;
}
