/**
 * Rules on owners, leases and names:
 *
 * - `single owner`: at most one process can commit to a key.
 * - `epochs`: epochs only rise.
 * - `one life`: a node name has at most one live incarnation.
 * - `death`: death is permanent.
 * - `name kept`: a process that renews its lease keeps its node's name.
 * - `needless lapse`: a short outage of the store ends no lease.
 */
import { hasEnded, type MemberState } from "../../src/model/member.ts";
import type {
  ClaimReply,
  Membership,
  RegisterReply,
  RenewReply,
  Standing,
} from "../../src/ports/store.ts";
import type { Step, StepReply } from "../engine/observer.ts";
import type { LiveChecker } from "./checker.ts";

/**
 * Rule: at most one process can commit to a key. A process that sends a commit owns the key at that
 * instant, by the ground truth.
 *
 * An owner must fence itself before the store does: once its successor has claimed the key, it
 * doesn't even send a commit.
 */
export const singleOwner: LiveChecker = {
  name: "single owner",
  watch: ({ truth }, report) => ({
    asked(step) {
      if (step.name !== "commit") return;
      const { key, incarnation, epoch } = step.args[0];
      const owner = truth.owner(key);
      if (owner?.incarnation === incarnation && owner.epoch === epoch) return;
      report(
        `${step.process} would commit to ${key} under epoch ${epoch} at ${step.at.toFixed(3)}, ` +
          `but its owner is ${owner ? `${owner.rrp}, epoch ${owner.epoch}` : "nobody"}`,
      );
    },
  }),
};

/**
 * Rule: epochs only rise. Each ownership of a key has a higher epoch than the one before, whatever
 * a failover lost, and no commit has a lower one.
 */
export const epochs: LiveChecker = {
  name: "epochs",
  watch(_context, report) {
    const claimed = new Map<string, { epoch: number; opId: string }>();
    const committed = new Map<string, number>();
    /** The epoch of each key's entry. */
    const fences = new Map<string, number | undefined>();
    return {
      failedOver(_former, promoted) {
        for (const key of fences.keys()) fences.set(key, promoted.lookup(key)?.epoch);
      },
      applied(step, reply) {
        if (step.name === "claim") {
          const { won, owner } = reply as ClaimReply;
          const { key, opId } = step.args[0];
          if (!won || !owner) return;
          const last = claimed.get(key);
          const isRepeat = last?.opId === opId && last.epoch === owner.epoch;
          if (last && owner.epoch <= last.epoch && !isRepeat) {
            report(`${key} was claimed under epoch ${owner.epoch}, after ${last.epoch}`);
          }
          claimed.set(key, { epoch: owner.epoch, opId });
          fences.set(key, owner.epoch);
        } else if (step.name === "reassert") {
          step.args[0].forEach(({ key, epoch }, i) => {
            const { standing } = (reply as Standing[] | null)?.[i] ?? {};
            if (standing !== undefined && standing !== "lost") fences.set(key, epoch);
          });
        } else if (step.name === "commit" && reply === "committed") {
          const { key, epoch } = step.args[0];
          const last = committed.get(key) ?? 0;
          if (epoch < last) report(`${key}: a commit of epoch ${epoch} came after one of ${last}`);
          if (epoch !== fences.get(key)) {
            const fence = fences.get(key) ?? "nobody";
            report(`${key}: a commit of epoch ${epoch} passed the fence of ${fence}`);
          }
          committed.set(key, Math.max(last, epoch));
        }
      },
    };
  },
};

/**
 * Rule: a node name has at most one live incarnation. Once a newer one has registered, the store
 * renews no older one's lease, whatever becomes of the newer one.
 */
export const oneLife: LiveChecker = {
  name: "one life",
  watch(_context, report) {
    const names = new Map<string, string>();
    /** The last incarnation that registered under each name. */
    const latest = new Map<string, string>();
    return {
      failedOver(_former, promoted) {
        latest.clear();
        for (const { region, node, incarnation, state } of promoted.members().members) {
          if (state === "live") latest.set(`${region}/${node}`, incarnation);
        }
      },
      applied(step, reply) {
        if (step.name === "register") {
          if ((reply as RegisterReply).outcome !== "registered") return;
          const { incarnation, region, node } = step.args[0];
          names.set(incarnation, `${region}/${node}`);
          latest.set(`${region}/${node}`, incarnation);
        } else if (step.name === "renew") {
          if ((reply as RenewReply).outcome !== "renewed") return;
          const [incarnation] = step.args;
          const name = names.get(incarnation);
          if (name === undefined || latest.get(name) === incarnation) return;
          report(`${step.process} renewed ${incarnation}, but ${name} is ${latest.get(name)} now`);
        }
      },
    };
  },
};

/**
 * Rule: death is permanent. Once a reply said that an incarnation is dead or has left, no reply to
 * a later request says that it lives, not even if its registration arrives after it left. A
 * promoted replica that lacks a death is a new store: the rule holds within each.
 */
export const death: LiveChecker = {
  name: "death",
  watch(_context, report) {
    /** When a process first learned of each incarnation's death. */
    const dead = new Map<string, number>();
    const told = (step: Step, incarnation: string, state: MemberState, at: number): void => {
      const who = `${incarnation} ${step.copy ?? ""}`;
      const since = dead.get(who) ?? Infinity;
      if (hasEnded(state)) dead.set(who, Math.min(since, at));
      else if (since < step.at) {
        report(`${step.process} was told that ${incarnation} is ${state}, after it had died`);
      }
    };
    return {
      replyReceived(step: Step, reply: StepReply, at: number) {
        if (step.name === "kill") {
          if (reply !== null) told(step, step.args[0], reply as MemberState, at);
        } else if (step.name === "leave") {
          told(step, step.args[0].incarnation, "left", at);
        } else if (step.name === "renew") {
          const { state, watched } = reply as RenewReply;
          told(step, step.args[0], state, at);
          for (const other of watched) told(step, other.incarnation, other.state, at);
        } else if (step.name === "members") {
          for (const member of (reply as Membership).members) {
            told(step, member.incarnation, member.state, at);
          }
        }
      },
    };
  },
};

/** A new process watches a name for longer than this before it takes it, in heartbeats. */
const SEEN_FROM_BEATS = 2.25;
/**
 * The process has seen all renewals that are older than this, in heartbeats, if nothing is slow.
 */
const SEEN_TO_BEATS = 1;

/**
 * Rule: a process that renews its lease keeps its node's name, however many others start under it.
 * While nothing else goes wrong, no registration ends its renewals.
 */
export const nameKept: LiveChecker = {
  name: "name kept",
  watch({ plan }, report) {
    const { lease: { heartbeatMs }, linkConditions: { tail, loss, baseMs } } = plan.shape;
    if (tail > 0 || loss > 0 || baseMs > heartbeatMs / 10) return {};
    /** The process with each name, and the times of its last renewals. */
    const holders = new Map<string, { incarnation: string; renewals: number[] }>();
    return {
      applied(step, reply, at) {
        if (step.name === "renew") {
          if ((reply as RenewReply).outcome !== "renewed") return;
          for (const holder of holders.values()) {
            if (holder.incarnation !== step.args[0]) continue;
            const since = at - SEEN_FROM_BEATS * heartbeatMs;
            holder.renewals = [...holder.renewals.filter((it) => it > since), at];
          }
        } else if (step.name === "register") {
          if ((reply as RegisterReply).outcome !== "registered") return;
          const { incarnation, region, node } = step.args[0];
          const name = `${region}/${node}`;
          const former = holders.get(name);
          holders.set(name, { incarnation, renewals: [] });
          const near = plan.faults.filter((it) =>
            it.at <= at && it.at + it.ms >= at - 10 * heartbeatMs
          );
          if (!former || near.length === 0 || near.some(({ kind }) => kind !== "twin")) return;
          const seen = former.renewals.filter((it) =>
            it > at - SEEN_FROM_BEATS * heartbeatMs && it < at - SEEN_TO_BEATS * heartbeatMs
          );
          if (seen.length === 0) return;
          report(`${step.process} took the name ${name} from one that renewed at ${seen[0]}`);
        }
      },
    };
  },
};

/** The time that a renewal, its connection and the pause before it may take, in heartbeats. */
const SPARE_BEATS = 1.5;

/**
 * Rule: a store that refuses connections for less than the lease ends no lease, because the time
 * left after the outage exceeds the interval between two renewals. A full store ends no lease,
 * however long it is full. Plans in which links lose or delay messages are not judged.
 */
export const needlessLapse: LiveChecker = {
  name: "needless lapse",
  watch({ plan }, report) {
    const { linkConditions, lease: { heartbeatMs, leaseMs } } = plan.shape;
    if (linkConditions.loss > 0 || linkConditions.tail > 0) return {};
    return {
      eventLogged(process, { event }, at) {
        if (event !== "lease lapsed") return;
        const since = at - leaseMs - heartbeatMs;
        const near = plan.faults.filter((fault) => fault.at <= at && fault.at + fault.ms >= since);
        const [outage] = near;
        if (near.length !== 1) return;
        if (outage?.kind === "store_full") {
          return report(`${process}'s lease of ${leaseMs} ms lapsed: the store was full, no more`);
        }
        if (outage?.kind !== "store_outage" || outage.ms >= leaseMs - SPARE_BEATS * heartbeatMs) {
          return;
        }
        report(
          `${process}'s lease of ${leaseMs} ms lapsed: the store was away for ${outage.ms} ms`,
        );
      },
    };
  },
};
