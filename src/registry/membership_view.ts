/**
 * All members as this node last read them: members that it can dial, and members whose rows can't
 * be read except for `seq` and state; the latter may also hold leases.
 *
 * Source: `docs/design.md`, Membership and leases.
 */
import { nodeName } from "../model/call_path.ts";
import { hasEnded, type Member, type MemberState } from "../model/member.ts";
import type { Membership, Unreadable } from "../ports/store.ts";

export class MembershipView {
  #members = new Map<string, Member>();
  #unreadable = new Map<string, Unreadable>();

  /** Replaces the whole view. */
  read({ members, unreadable = [] }: Pick<Membership, "members" | "unreadable">): void {
    this.#members = new Map(members.map((member) => [member.incarnation, member]));
    this.#unreadable = new Map(unreadable.map((row) => [row.incarnation, row]));
  }

  /** Adds or updates one member. Answers whether its state changed. */
  put(member: Member): boolean {
    const isNews = this.#members.get(member.incarnation)?.state !== member.state;
    this.#members.set(member.incarnation, member);
    return isNews;
  }

  peek(incarnation: string): Member | undefined {
    return this.#members.get(incarnation);
  }

  /** `<region>/<node>`; the incarnation itself if it is unknown. */
  nameOf(incarnation: string): string {
    const member = this.#members.get(incarnation);
    return member ? nodeName(member) : incarnation;
  }

  members(): Iterable<Member> {
    return this.#members.values();
  }

  /** The live members with a node's name. */
  namesakes(region: string, node: string): Member[] {
    const isOne = (it: Member): boolean => it.region === region && it.node === node;
    return [...this.#members.values()].filter((it) => isOne(it) && it.state === "live");
  }

  /** Members that may hold a lease. */
  live(): (Member | Unreadable)[] {
    const all = [...this.#members.values(), ...this.#unreadable.values()];
    return all.filter(({ state }) => !hasEnded(state));
  }

  /** The state of any member, readable or not; undefined for one that is unknown. */
  stateOf(incarnation: string): MemberState | undefined {
    return (this.#members.get(incarnation) ?? this.#unreadable.get(incarnation))?.state;
  }

  /** Whether a member is known, and dead. */
  isKnownDead(incarnation: string): boolean {
    const state = this.stateOf(incarnation);
    return state !== undefined && hasEnded(state);
  }

  /** Whether a member whose row can't be read may be alive. */
  isUnreadable(incarnation: string): boolean {
    return !hasEnded(this.#unreadable.get(incarnation)?.state);
  }
}
