/**
 * The well-behaved clients of a node under attack, in their own thread, so that they measure the
 * node and not the attack: one polls `/healthz`, one calls a resource, one listens on a socket.
 *
 * Takes a port, an authorization and the node's process id; answers each message with {@link
 * Figures}. The node's delay is the part of a wait for `/healthz` in which neither the node's main
 * thread nor this one waited for a processor (Linux, `schedstat`).
 */
import { readFileSync } from "node:fs";
import { Agent, request } from "node:http";
import { parentPort, workerData } from "node:worker_threads";
import { WebSocket } from "ws";

/** The input of the probe. */
export interface Instructions {
  readonly port: number;
  readonly authorization: string;
  readonly pid: number;
}

/** The figures of the well-behaved clients. */
export interface Figures {
  readonly health: { asked: number; failed: number; worstMs: number };
  readonly calls: {
    ok: number;
    failed: number;
    worstMs: number;
    /** The longest time between two that succeeded, in ms. */
    gapMs: number;
    /** The errors of the first few that failed. */
    failures: string[];
  };
  readonly socket: { events: number; lost: number; closed: number };
}

/** The resource that only these clients use. */
const KEY = "healthy/one";
/** Pauses between two requests, in ms. */
const HEALTH_REST_MS = 50;
const CALL_REST_MS = 40;
/** How long an answer may take before it counts as failed, in ms: longer than any deadline. */
const ANSWER_TIMEOUT_MS = 15_000;
const MOST_FAILURES = 5;

const { port, authorization, pid } = workerData as Instructions;
const figures: Figures = {
  health: { asked: 0, failed: 0, worstMs: 0 },
  calls: { ok: 0, failed: 0, worstMs: 0, gapMs: 0, failures: [] },
  socket: { events: 0, lost: 0, closed: 0 },
};

const agents = [0, 1].map(() => new Agent({ keepAlive: true, maxSockets: 1 }));

function ask(agent: Agent, method: string, path: string, body: string): Promise<[number, string]> {
  return new Promise((resolve, reject) => {
    const headers = { authorization, "content-length": Buffer.byteLength(body) };
    const asked = request({ agent, port, host: "127.0.0.1", method, path, headers }, (answer) => {
      let text = "";
      answer.on("data", (data) => text += data);
      answer.on("end", () => resolve([answer.statusCode ?? 0, text]));
      answer.on("error", reject);
    });
    asked.setTimeout(
      ANSWER_TIMEOUT_MS,
      () => asked.destroy(new Error(`no answer in ${ANSWER_TIMEOUT_MS} ms`)),
    );
    asked.on("error", reject);
    asked.end(body);
  });
}

/** How long a thread has waited for a processor so far, in ms; 0 if that is unknown. */
function waited(path: string): number {
  try {
    return Number(readFileSync(path, "utf8").split(" ")[1]) / 1e6;
  } catch {
    return 0;
  }
}

function starved(): number {
  return waited(`/proc/${pid}/schedstat`) + waited("/proc/thread-self/schedstat");
}

/** When the pending request was sent, and how long both threads had waited by then. */
let asked: { began: number; before: number } | null = null;

/** Records the delay so far, also while the answer is pending. */
function measure(): void {
  if (!asked) return;
  const { health } = figures;
  const ms = performance.now() - asked.began - (starved() - asked.before);
  health.worstMs = Math.max(health.worstMs, ms);
}

async function watchHealth(): Promise<void> {
  const { health } = figures;
  for (;;) {
    asked = { began: performance.now(), before: starved() };
    try {
      const [status] = await ask(agents[0] as Agent, "GET", "/healthz", "");
      if (status !== 200) health.failed++;
    } catch {
      health.failed++;
    }
    measure();
    asked = null;
    health.asked++;
    await rest(HEALTH_REST_MS);
  }
}

async function keepCalling(): Promise<void> {
  const { calls } = figures;
  let last = performance.now();
  for (let n = 0;; n++) {
    const began = performance.now();
    let why: string | null = null;
    try {
      const [status, text] = await ask(
        agents[1] as Agent,
        "POST",
        `/v1/resources/${KEY}/send`,
        `["w","${n}"]`,
      );
      if (status !== 200) why = `${status} ${text.slice(0, 200)}`;
    } catch (error) {
      why = String(error);
    }
    const now = performance.now();
    calls.worstMs = Math.max(calls.worstMs, now - began);
    if (why === null) {
      calls.ok++;
      calls.gapMs = Math.max(calls.gapMs, now - last);
      last = now;
    } else {
      calls.failed++;
      if (calls.failures.length < MOST_FAILURES) calls.failures.push(why);
    }
    await rest(CALL_REST_MS);
  }
}

/** Listens; after a close it continues from the last event. */
function listen(after: number | null): void {
  const { socket } = figures;
  let seq = after;
  const query = after === null ? "" : `?after=${after}`;
  const listener = new WebSocket(`ws://127.0.0.1:${port}/v1/connect/${KEY}${query}`, {
    headers: { authorization },
  });
  listener.on("message", (data) => {
    const frame = JSON.parse(String(data));
    if (frame.t === "hello") {
      if (frame.gap) socket.lost++;
      seq ??= frame.seq;
    } else if (frame.t === "event") {
      socket.events++;
      if (seq !== null && frame.seq !== seq + 1) socket.lost++;
      seq = frame.seq;
    }
  });
  listener.on("error", () => {});
  listener.on("close", () => {
    socket.closed++;
    setTimeout(() => listen(seq), 200);
  });
}

function rest(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

parentPort?.on("message", () => {
  measure();
  parentPort?.postMessage(figures);
});
void watchHealth();
void keepCalling();
listen(null);
