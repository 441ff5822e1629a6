/**
 * Maps the errors with which a runtime fails to bind a port to one message, the same on every
 * runtime.
 */
import { AtlasError, messageOf } from "../../src/errors.ts";

const REASONS: Record<string, string> = {
  EADDRINUSE: "the port is in use",
  EADDRNOTAVAIL: "this machine has no such address",
  EACCES: "the port needs more rights",
  ENOTFOUND: "the host is unknown",
  EAI_AGAIN: "the host can't be looked up",
};

/**
 * Error codes that mean a wrong host only, and those that mean a wrong port only (`EINVAL` is
 * Deno's).
 */
const OF_HOST = ["EADDRNOTAVAIL", "ENOTFOUND", "EAI_AGAIN", "EINVAL"];
const OF_PORT = ["EADDRINUSE", "EACCES"];

/** Which setting a failure of `Runtime.serve` comes from; null: it may be either. */
export function settingAtFault(failure: unknown): "host" | "port" | null {
  const { cause } = (failure ?? {}) as { cause?: { code?: unknown } | null };
  const code = String(cause?.code ?? "");
  return OF_HOST.includes(code) ? "host" : OF_PORT.includes(code) ? "port" : null;
}

/**
 * The error of `Runtime.serve` for an error that the runtime threw. Names host, port and reason.
 */
export function serveFailure(host: string, port: number, cause: unknown): AtlasError {
  const code = String((cause as { code?: unknown } | null)?.code ?? "");
  const reason = REASONS[code] ?? messageOf(cause);
  return new AtlasError("unavailable", `can't listen on ${host} port ${port}: ${reason}`, {
    retryable: false,
    cause,
  });
}
