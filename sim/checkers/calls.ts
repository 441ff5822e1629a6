/**
 * Rules on clients' calls:
 *
 * - `answers`: no answer comes from a fenced owner.
 * - `fifo`: calls of one caller to one key run in their order.
 * - `once`: an acknowledged call is in the state exactly once.
 * - `addressee`: a request is handled only by the ownership that it names.
 * - `chains`: a chain of calls that returns to a busy resource fails.
 * - `returns`: every call returns in time.
 */
import type { Message } from "../../src/model/envelope.ts";
import type { CallRecord } from "../engine/history.ts";
import type { CheckContext, HistoryChecker, LiveChecker, Report } from "./checker.ts";

/**
 * Rule: no answer comes from a fenced owner. The ownership that a client got existed at some
 * instant of its call. `confirmed` was true at such an instant with the owner alive, and so was
 * `unowned`.
 */
export const answers: LiveChecker = {
  name: "answers",
  watch: (context, report) => ({
    returned(call) {
      if (call.outcome !== "ok") return;
      if (call.what !== "lookup") checkAnswer(call, context, report);
      else if (call.verdict === "confirmed") checkConfirmed(call, context, report);
      else if (call.verdict === "unowned") checkUnowned(call, context, report);
    },
  }),
};

function checkAnswer(call: CallRecord, { truth }: CheckContext, report: Report): void {
  const { epoch, rrp, invokedAt, returnedAt } = call;
  // A call that goes through other resources is answered by the first of them.
  const key = call.via?.[0] ?? call.key;
  const stood = truth.wasOwner(
    key,
    invokedAt,
    returnedAt,
    (owner) => owner?.epoch === epoch && owner.rrp === rrp,
  );
  if (!stood) report(`call ${call.id}: ${rrp} of epoch ${epoch} answered, but was no owner then`);
}

function checkConfirmed(call: CallRecord, { truth }: CheckContext, report: Report): void {
  const { key, epoch, rrp, invokedAt, returnedAt } = call;
  const was = truth.wasEntry(
    key,
    invokedAt,
    returnedAt,
    (owner, from, to) =>
      owner?.epoch === epoch && owner.rrp === rrp && truth.wasAlive(owner.incarnation, from, to),
  );
  if (!was) report(`lookup ${call.id}: ${rrp} of epoch ${epoch} was confirmed, and never true`);
}

function checkUnowned(call: CallRecord, { truth }: CheckContext, report: Report): void {
  const was = truth.wasEntry(
    call.key,
    call.invokedAt,
    call.returnedAt,
    (owner, from, to) => owner === null || truth.wasDead(owner.incarnation, from, to),
  );
  if (!was) report(`lookup ${call.id}: ${call.key} was called unowned, and never was`);
}

/**
 * Rule: calls of one caller to one key are executed in the order in which they were made, as long
 * as its node knows the key's owner and the owner stays the same.
 *
 * A call in flight when the key changes owner is returned and sent again; later calls may overtake
 * it. Calls with idempotency keys are excluded, because they are resent when their answer was lost.
 */
export const fifo: HistoryChecker = {
  name: "fifo",
  check({ calls, lost }, report) {
    const byCaller = new Map<string, CallRecord[]>();
    const byProcess = Map.groupBy(calls, ({ process, key }) => `${process} ${key}`);
    for (const ofProcess of byProcess.values()) {
      for (const call of settled(ofProcess)) {
        const name = `${call.process} ${call.caller} ${call.key}`;
        const before = byCaller.get(name);
        if (before) before.push(call);
        else byCaller.set(name, [call]);
      }
    }
    const isLost = ({ key, value }: CallRecord): boolean => lost?.get(key)?.has(value) ?? false;
    for (const ofCaller of byCaller.values()) {
      // The positions of entries that a failover lost are used again.
      checkCallOrder(ofCaller.filter((call) => !isLost(call)), report);
    }
  },
};

/**
 * One process's appends that were answered by the owner that it already knew, in the order in which
 * they were made.
 */
function settled(calls: readonly CallRecord[]): CallRecord[] {
  const answered = calls.filter(({ outcome, what, via = [] }) =>
    // Calls through other journals have no order with direct calls.
    outcome === "ok" && what !== "lookup" && via.length === 0
  );
  const byReturn = [...answered].sort((a, b) => a.returnedAt - b.returnedAt);
  let at = 0;
  let known = 0;
  return answered.sort((a, b) => a.id - b.id).filter((call) => {
    for (; (byReturn[at]?.returnedAt ?? Infinity) < call.invokedAt; at++) {
      known = Math.max(known, (byReturn[at] as CallRecord).epoch);
    }
    return call.what === "append" && call.idempotencyKey === null && call.epoch === known;
  });
}

function checkCallOrder(calls: readonly CallRecord[], report: Report): void {
  calls.forEach((call, i) => {
    const before = calls[i - 1];
    if (!before || before.seq < call.seq) return;
    report(
      `${call.key}: ${call.caller} asked for ${before.value} (call ${before.id}) and then ` +
        `${call.value} (call ${call.id}), which got places ${before.seq} and ${call.seq}`,
    );
  });
}

/**
 * Rule: an acknowledged call is in the state exactly once, at the position in its answer; a call
 * that failed as not executed is not there; any other is there at most once; and nothing else is
 * there. Another checker covers losses of a store failover.
 */
export const once: HistoryChecker = {
  name: "once",
  check({ calls, journals, lost }, report) {
    const appended = new Set(calls.filter(({ what }) => what === "append").map((it) => it.value));
    const places = new Map<string, Map<string, number[]>>();
    for (const [key, entries] of journals) {
      const ofKey = new Map<string, number[]>();
      entries.forEach(({ value }, seq) => {
        const seqs = ofKey.get(value);
        if (seqs) seqs.push(seq);
        else ofKey.set(value, [seq]);
      });
      places.set(key, ofKey);
      for (const [value, seqs] of ofKey) {
        if (!appended.has(value)) report(`${value} is in ${key} at ${seqs}: no call appended it`);
        if (seqs.length > 1) report(`${value} is in ${key} ${seqs.length} times: at ${seqs}`);
      }
    }
    const executed = new Set(calls.filter(mayBeExecuted).map(({ value }) => value));
    for (const call of calls) {
      if (call.what !== "append") continue;
      const seqs = places.get(call.key)?.get(call.value) ?? [];
      const wasLost = lost?.get(call.key)?.has(call.value) ?? false;
      if (call.outcome === "ok" && !seqs.includes(call.seq) && !wasLost) {
        report(`${describe(call)} was acknowledged at place ${call.seq}, and is at ${seqs}`);
      }
      if (seqs.length > 0 && !executed.has(call.value)) {
        report(`${describe(call)} was said not to be executed (${call.code}), and is at ${seqs}`);
      }
    }
  },
};

function mayBeExecuted(call: CallRecord): boolean {
  return call.outcome !== "fail";
}

function describe(call: CallRecord): string {
  return `call ${call.id}, ${call.value} to ${call.key} through ${call.process},`;
}

interface Asked {
  readonly by: string;
  readonly key: string;
  readonly epoch: number;
  /** Whether it may be forwarded: then its epoch is the highest that its caller has seen. */
  readonly relay: boolean;
}

/**
 * Rule: a request is handled only by the ownership whose epoch it names. A forwarded request is
 * never answered by an earlier owner than its caller has seen.
 *
 * Reads the messages between nodes. Source: docs/design.md, Calls.
 */
export const addressee: LiveChecker = {
  name: "addressee",
  watch({ world }, report) {
    /** Requests that are not answered yet, by link and number; both ends count from the same. */
    const open = new Map<string, Asked[]>();
    const sent = (link: number, from: string, message: Message): void => {
      const call = `${link} ${message.id}`;
      if (message.kind === "request") {
        const { key, epoch, relay } = message;
        const asked = { by: from, key, epoch, relay };
        const others = open.get(call);
        if (others) others.push(asked);
        else open.set(call, [asked]);
        return;
      }
      if (message.kind !== "reply" && message.kind !== "failure") return;
      const calls = open.get(call) ?? [];
      const asked = calls.find(({ by }) => by !== from);
      if (!asked) return;
      open.set(call, calls.filter((it) => it !== asked));
      if (message.kind === "failure" || asked.epoch === 0) return;
      if (asked.epoch === message.epoch) return;
      // Forwarded to the key's current owner, by a former owner or by a node on the way.
      if (message.passed && message.epoch > asked.epoch) return;
      if (asked.relay && asked.epoch < message.epoch) return;
      const { by, key, epoch } = asked;
      report(`${by} asked ${key} of epoch ${epoch}, and ${from} answered as ${message.epoch}`);
    };
    let isListening = false;
    return {
      process() {
        // The first process exists, and so does the network.
        if (!isListening) world().network.onFrame(sent);
        isListening = true;
      },
    };
  },
};

/**
 * Rule: a chain of calls that returns to a busy resource fails at once with `reentrant_call`,
 * unless its type allows it; no other chain gets that error.
 *
 * Chains with idempotency keys are excluded from the first half: a repeated call may get an earlier
 * answer of a journal on the way. Source: docs/design.md, Calls.
 */
export const chains: HistoryChecker = {
  name: "chains",
  check({ calls }, report) {
    for (const call of calls) {
      const { via = [], mayReenter = false } = call;
      const isRefused = !mayReenter && new Set([...via, call.key]).size <= via.length;
      const path = [...via, call.key].join(" → ");
      if (isRefused && call.outcome === "ok" && call.idempotencyKey === null) {
        report(`call ${call.id} went ${path} and was answered`);
      }
      if (!isRefused && call.code === "reentrant_call") {
        report(`call ${call.id} went ${path} and was refused as coming back`);
      }
    }
  },
};

/** How much later than its deadline a call may come back: timers are not exact. In ms. */
const SLACK_MS = 100;

/**
 * Rule: every call returns by its deadline, or when its caller aborts it, as long as its process
 * lives.
 */
export const returns: LiveChecker = {
  name: "returns",
  watch({ plan, world }, report) {
    const open = new Set<CallRecord>();
    return {
      called: (call) => void open.add(call),
      returned(call) {
        open.delete(call);
        const { id, process, givenUpAt = Infinity, returnedAt } = call;
        if (returnedAt > givenUpAt + SLACK_MS) {
          report(
            `call ${id} through ${process} came back ${
              returnedAt - givenUpAt
            } ms after it was given up`,
          );
        }
      },
      finished() {
        for (const { process, node } of world().nodes()) {
          const left = [...open].filter((call) => call.process === process.id);
          for (const call of left) {
            const dueAt = Math.max(call.invokedAt, plan.healAt) + call.timeoutMs + SLACK_MS;
            if (dueAt < plan.endAt) report(`call ${call.id} through ${process.id} never came back`);
          }
          const calls = left.filter(({ what }) => what !== "lookup").length;
          const { inFlight = 0 } = node?.stats() ?? {};
          if (inFlight > calls) {
            report(`${process.id} holds ${inFlight} calls, while ${calls} are waited for`);
          }
        }
      },
    };
  },
};
