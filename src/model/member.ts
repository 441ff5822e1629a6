/**
 * A member: one incarnation of a node, as the registry's membership records it.
 *
 * `live` renews its lease; `superseded` can't any more, because a newer incarnation took its
 * name, but may still serve until its lease ends; `dead` and `left` never own anything again. An
 * incarnation that membership doesn't know is dead.
 *
 * Source: `docs/design.md`, Membership and leases.
 */

export type MemberState = "live" | "superseded" | "dead" | "left";

/** What a node registers about itself. */
export interface MemberInfo {
  /** The node's incarnation: a random UUID. */
  readonly incarnation: string;
  readonly region: string;
  /** The node's name, unique among live members of its region. */
  readonly node: string;
  /** Where other nodes dial it. */
  readonly address: string;
  /** The resource types that it can run. */
  readonly hosts: readonly string[];
  /** Roles that it has in the cluster, such as `authority`; absent: none. */
  readonly serves?: readonly string[];
}

export interface Member extends MemberInfo {
  /** Rises with each renewal. */
  readonly seq: number;
  readonly state: MemberState;
}

/** Whether keys owned by a member of this state may be taken over. Dead is permanent. */
export function hasEnded(state: MemberState | undefined): boolean {
  return state === undefined || state === "dead" || state === "left";
}
