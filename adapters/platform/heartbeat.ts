/**
 * Keeps client sockets alive and finds dead ones. Takes how long a peer may be silent; pings it
 * twice in that time, and closes the socket after it.
 */

/** A heartbeat that goes on until it is stopped. */
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
