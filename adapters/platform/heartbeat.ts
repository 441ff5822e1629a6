/**
 * Keeps client sockets alive and finds dead ones. Takes how long a peer may be silent; pings the
 * peer twice in that time, and closes the socket when it has passed.
 */

/** A heartbeat that runs until it is stopped. */
export interface Heartbeat {
  /** The peer sent something. */
  heard(): void;
  stop(): void;
}

/** Starts one. */
export function startHeartbeat(idleMs: number, ping: () => void, cut: () => void): Heartbeat {
  let unanswered = 0;
  const timer = setInterval(() => {
    if (unanswered >= 2) return cut();
    unanswered++;
    ping();
  }, idleMs / 3);
  return {
    heard: () => void (unanswered = 0),
    stop: () => clearInterval(timer),
  };
}
