/**
 * Reads INFO and refusals of a Redis: whether it is a master, and whether no retry will help. The
 * role is read from INFO, which also has the replication id; ROLE would be a second request.
 */

/** Refusals by a server that is no master, or not yet. */
export const NOT_SERVING: RegExp = /\b(?:READONLY|LOADING|MASTERDOWN)\b/;

/** Refusals that no retry will change. */
export const REFUSED: RegExp =
  /WRONGPASS|NOAUTH|NOPERM|invalid password|DB index is out of range|unknown command|cluster support disabled|No such master/i;

/**
 * The refusal among a script's answers if the server can't write; null where there is none.
 * A script's steps fail one by one, each with text that starts with `!`.
 */
export function refusalIn(reply: unknown): string | null {
  if (!Array.isArray(reply)) return null;
  const found = reply.find((text) =>
    typeof text === "string" && text.startsWith("!") && NOT_SERVING.test(text)
  );
  return found === undefined ? null : found.slice(1);
}

/** A field of INFO's answer; empty where it isn't there. */
export function fieldOf(info: unknown, name: string): string {
  return new RegExp(`^${name}:(.*?)\\r?$`, "m").exec(String(info))?.[1] ?? "";
}

/** Whether INFO says that the server is a replica. */
export function isReplica(info: unknown): boolean {
  return fieldOf(info, "role") === "slave";
}

/** Why a server is not used that INFO reports as a replica. */
export function replicaOf(info: unknown): string {
  const master = `${fieldOf(info, "master_host")}:${fieldOf(info, "master_port")}`;
  return `it is a replica of ${master}, not a master`;
}
