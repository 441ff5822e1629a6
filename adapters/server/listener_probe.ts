/**
 * Checks that a node's own listener still accepts connections. A process that ran out of
 * descriptors may continue to renew its lease while nobody can reach it.
 *
 * Dials the listener periodically, over loopback if it listens on all addresses. After several
 * failures in a row the server closes its listener and opens it again; if that doesn't help, it
 * reports the loss. A listener that was never reached from this machine is no longer probed after a
 * number of attempts.
 */
import { connect } from "node:net";
import type { NodeEvent } from "../../src/api/node.ts";
import { messageOf } from "../../src/errors.ts";
import {
  LISTENER_FAILURES,
  LISTENER_LOST,
  LISTENER_PROBE_MS,
  LISTENER_PROBE_TIMEOUT_MS,
  LISTENER_SOON_MS,
} from "../../src/limits.ts";
import type { Server } from "../../src/ports/runtime.ts";

export interface ListenerProbeOptions {
  readonly server: Pick<Server, "port" | "relisten">;
  /** The address on which the node listens. */
  readonly host: string;
  readonly onEvent: (event: NodeEvent) => void;
  /**
   * Runs once, when a listener that was reached before no longer is, and opening it again didn't
   * help. Probing then stops.
   */
  readonly onLost: (why: string) => void;
  /** Default: those of `src/limits.ts`, in ms. */
  readonly times?: ListenerTimes;
}

export interface ListenerTimes {
  readonly everyMs: number;
  readonly soonMs: number;
  readonly timeoutMs: number;
}

const TIMES: ListenerTimes = {
  everyMs: LISTENER_PROBE_MS,
  soonMs: LISTENER_SOON_MS,
  timeoutMs: LISTENER_PROBE_TIMEOUT_MS,
};

export interface ListenerProbe {
  stop(): void;
}

const NOT_PROBED = "the node can't reach its own listener, so it stops probing it";

/** Starts the probes. */
export function probeListener(options: ListenerProbeOptions): ListenerProbe {
  return new Probe(options);
}

class Probe implements ListenerProbe {
  readonly #options: ListenerProbeOptions;
  readonly #times: ListenerTimes;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #failures = 0;
  #isStopped = false;
  /** Whether it was ever reached; if not, a firewall may block this probe only. */
  #wasReached = false;

  constructor(options: ListenerProbeOptions) {
    this.#options = options;
    this.#times = options.times ?? TIMES;
    this.#later();
  }

  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
  }

  #later(): void {
    if (this.#isStopped) return;
    const { everyMs, soonMs } = this.#times;
    const isSoon = this.#failures > 0 || !this.#wasReached;
    this.#timer = setTimeout(() => void this.#probe(), isSoon ? soonMs : everyMs);
  }

  async #probe(): Promise<void> {
    const { server, host, onEvent, onLost } = this.#options;
    const why = await accepts(dialled(host), server.port, this.#times.timeoutMs);
    if (this.#isStopped) return;
    this.#failures = why === null ? 0 : this.#failures + 1;
    this.#wasReached ||= why === null;
    if (this.#failures === LISTENER_LOST) {
      this.stop();
      if (this.#wasReached) return onLost(`its listener accepts no connections: ${why}`);
      return onEvent({ level: "warning", event: NOT_PROBED, fields: { host, why } });
    }
    if (this.#failures > 0 && this.#failures % LISTENER_FAILURES === 0) {
      onEvent({ level: "error", event: "restarting the listener", fields: { why } });
      await server.relisten().catch((error: unknown) =>
        onEvent({
          level: "error",
          event: "listener restart failed",
          fields: { why: messageOf(error) },
        })
      );
    }
    this.#later();
  }
}

/** The address at which a listener on `host` is reached from its own machine. */
function dialled(host: string): string {
  if (host === "0.0.0.0") return "127.0.0.1";
  return host === "::" ? "::1" : host;
}

/**
 * Null if the listener accepts a connection; otherwise the reason why not. A listener that closes
 * the connection without an answer is at its limit, which counts as accepting.
 */
function accepts(host: string, port: number, timeoutMs: number): Promise<string | null> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    const end = (why: string | null) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(why);
    };
    const timer = setTimeout(() => end(`no answer within ${timeoutMs} ms`), timeoutMs);
    socket.on("connect", () => socket.write(PROBE));
    socket.on("data", () => end(null));
    socket.on("error", (error) => end(isReset(error) ? null : messageOf(error)));
    socket.on("close", () => end(null));
  });
}

function isReset(error: Error): boolean {
  return (error as { code?: unknown }).code === "ECONNRESET";
}

/** Any answer counts as success. */
const PROBE = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
