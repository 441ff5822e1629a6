/**
 * Rule: no answer comes from a fenced owner. The ownership that a client was told of existed at
 * some instant of its call. `confirmed` was true at such an instant with the owner alive, and so
 * was `unowned`.
 */
import type { CallRecord } from "../engine/history.ts";
import type { LiveChecker, LiveScene, Report } from "./checker.ts";

export const answers: LiveChecker = {
  name: "answers",
  watch: (scene, report) => ({
    returned(call) {
      if (call.outcome !== "ok") return;
      if (call.what !== "lookup") checkAnswer(call, scene, report);
      else if (call.verdict === "confirmed") checkConfirmed(call, scene, report);
      else if (call.verdict === "unowned") checkUnowned(call, scene, report);
    },
  }),
};

function checkAnswer(call: CallRecord, { ground }: LiveScene, report: Report): void {
  const { epoch, rrp, invokedAt, returnedAt } = call;
  // Who answers is the one at the door.
  const key = call.via?.[0] ?? call.key;
  const stood = ground.wasOwner(
    key,
    invokedAt,
    returnedAt,
    (owner) => owner?.epoch === epoch && owner.rrp === rrp,
  );
  if (!stood) report(`call ${call.id}: ${rrp} of epoch ${epoch} answered, but was no owner then`);
}

function checkConfirmed(call: CallRecord, { ground }: LiveScene, report: Report): void {
  const { key, epoch, rrp, invokedAt, returnedAt } = call;
  const was = ground.wasEntry(
    key,
    invokedAt,
    returnedAt,
    (owner, from, to) =>
      owner?.epoch === epoch && owner.rrp === rrp && ground.wasAlive(owner.incarnation, from, to),
  );
  if (!was) report(`lookup ${call.id}: ${rrp} of epoch ${epoch} was confirmed, and never true`);
}

function checkUnowned(call: CallRecord, { ground }: LiveScene, report: Report): void {
  const was = ground.wasEntry(
    call.key,
    call.invokedAt,
    call.returnedAt,
    (owner, from, to) => owner === null || ground.wasDead(owner.incarnation, from, to),
  );
  if (!was) report(`lookup ${call.id}: ${call.key} was called unowned, and never was`);
}
