/** Mutants of leases: one that lasts too long, or a claimer that waits too little. */
import type { Mutant } from "./mutant.ts";

const LEASE = "src/registry/lease.ts";
const MEMBERSHIP = "src/registry/membership.ts";

export const LEASE_MUTANTS: readonly Mutant[] = [
  {
    name: "no_self_fencing",
    about: "An owner serves until the store reports it as fenced, whatever its clock says.",
    edits: [{
      file: LEASE,
      find: `    if (this.#state !== "held") return false;
    const wall = this.#clock.wall();`,
      replace: `    if (this.#state) return this.#state === "held";
    const wall = this.#clock.wall();`,
    }],
  },
  {
    name: "lease_checked_rarely",
    about: "A check takes the result of the last full one for 10 s, not for 1 ms.",
    edits: [{
      file: LEASE,
      find: "if (wall === this.#checked) return true;",
      replace: "if (Math.abs(wall - this.#checked) < 10_000) return true;",
    }],
  },
  {
    name: "lease_checked_by_one_clock",
    about: "A check takes the last full one's result while the monotonic clock stands still.",
    edits: [{
      file: LEASE,
      find: "if (wall === this.#checked) return true;",
      replace: "if (this.#checked > 0 && this.#clock.now() - this.#checkedAt < 1) return true;",
    }],
    scenario: "suspended_after_check",
  },
  {
    name: "lease_from_reply",
    about: "A lease counts from the arrival of the renewal's answer, not from its sending.",
    edits: [{
      file: MEMBERSHIP,
      find: "if (this.lineages.hasAsserted(life) && !life.lease.confirm(sent)) return;",
      replace:
        "if (this.lineages.hasAsserted(life) && !life.lease.confirm(life.lease.sendTime())) return;",
    }],
    scenario: "slow_renewal",
  },
  {
    name: "failed_renewal_waits",
    about: "A failed renewal is retried at the next heartbeat only.",
    edits: [{
      file: "src/registry/heartbeats.ts",
      find: "if (this.#isRunning && this.#retry === null) {",
      replace: "if (!this.#isRunning && this.#retry === null) {",
    }],
    scenario: "short_outage",
  },
  {
    name: "name_taken_from_the_living",
    about: "A process takes its node's name at once, even from one that renews.",
    edits: [{
      file: MEMBERSHIP,
      find: "await waitUntilSilent(this.#clock, this.#timing.heartbeatMs, observe, isDue);",
      replace: "void observe;",
    }],
    scenario: "twins",
  },
  {
    name: "early_takeover",
    about: "A node declares another dead after 0.7 W without a heartbeat.",
    edits: [
      {
        file: "src/registry/failure_detector.ts",
        find: "const due = clock.now() - timing.takeoverMs;",
        replace: "const due = clock.now() - 0.7 * timing.takeoverMs;",
      },
      {
        file: "src/registry/failure_detector.ts",
        find: "const wait = oldest + timing.takeoverMs - clock.now();",
        replace: "const wait = oldest + 0.7 * timing.takeoverMs - clock.now();",
      },
    ],
  },
  {
    name: "late_renewal_revives",
    about: "A lapsed lease doesn't end ownership: the answer of a renewal, however late, " +
      "lets the owner serve for another L.",
    edits: [
      {
        file: LEASE,
        find: `    if (this.#state === "held" && !this.holds()) return false;`,
        replace: `    const isLate = this.#state === "held" && !this.holds();`,
      },
      {
        file: LEASE,
        find: "const until = sent.now + this.#timing.leaseMs;",
        replace: "const until = (isLate ? this.#clock.now() : sent.now) + this.#timing.leaseMs;",
      },
      {
        file: LEASE,
        find: `    this.lapse();
    return false;`,
        replace: "    return false;",
      },
      {
        file: MEMBERSHIP,
        find: "if (!life || !life.lease.holds() || this.#renewals >= MAX_RENEWALS) return;",
        replace: "if (!life || this.#renewals >= MAX_RENEWALS) return;",
      },
    ],
    scenario: "revival",
  },
  {
    name: "store_ttl",
    about: "The store ends a member whose last renewal is W old by the store's wall clock, " +
      "as an expiring key does; that clock may be set.",
    edits: [
      {
        file: MEMBERSHIP,
        find: "this.#store.renew(life.incarnation, ++this.#seq, watched, known),",
        replace: "(this.#store as any).renew(\n" +
          "        life.incarnation, ++this.#seq, watched, known, this.#timing.takeoverMs,\n      ),",
      },
      {
        file: "sim/engine/scheduler.ts",
        find: "this.now = event.at;",
        replace: "(globalThis as any).trueMs = this.now = event.at;",
      },
      {
        file: "sim/faults/node_faults.ts",
        find: "world.slot(a).current?.clock.jump(ms);",
        replace:
          "world.slot(a).current?.clock.jump(ms);\n      world.store.state.wallOffset += ms;",
      },
      {
        file: "adapters/store/store_state.ts",
        find: "  readonly #members = new Map<string, Member>();",
        replace: `  readonly #members = new Map<string, Member>();
  readonly #expiry = new Map<string, number>();
  wallOffset = 0;

  #wall(): number {
    return (globalThis as any).trueMs + this.wallOffset;
  }

  #expire(): void {
    for (const [incarnation, at] of this.#expiry) {
      if (at > this.#wall()) continue;
      this.#expiry.delete(incarnation);
      const member = this.#members.get(incarnation);
      if (member && !hasEnded(member.state)) this.#end(member, "dead");
    }
  }`,
      },
      {
        file: "adapters/store/store_state.ts",
        find: `    known?: KnownLineage | null,
  ): RenewReply {`,
        replace: `    known?: KnownLineage | null, ttlMs?: number,
  ): RenewReply {
    this.#expire();`,
      },
      {
        file: "adapters/store/store_state.ts",
        find: "if (isLive && seq > member.seq) this.#set({ ...member, seq });",
        replace: `if (isLive && seq > member.seq) this.#set({ ...member, seq });
    if (isLive && ttlMs) this.#expiry.set(incarnation, this.#wall() + ttlMs);`,
      },
      {
        file: "adapters/store/store_state.ts",
        find: "members(): Membership {",
        replace: "members(): Membership {\n    this.#expire();",
      },
    ],
  },
];
