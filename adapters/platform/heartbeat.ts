/**
 * A heartbeat for sockets of clients: taps on the line now and then, and hangs up where
 * nothing comes back.
 *
 * Takes how long a peer may be silent; pings it twice in that time, and cuts it after.
 */

/** A heartbeat that goes on until it is stopped. */
export interface Heartbeat {
  /** The peer gave a sign of life. */
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
