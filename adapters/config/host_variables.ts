/**
 * Reads the variables by which container hosts tell a process its region, machine and address. A
 * node uses them if its own variables are not set.
 *
 * Gives each value with the name of its variable, so that an error can name it. `docs/deploy.md`
 * has the same lists as a table.
 */
import { isIP } from "node:net";
import { AtlasError } from "../../src/errors.ts";
import type { Random } from "../../src/ports/random.ts";
import { systemRandom } from "../system/clock.ts";
import { isLoopback } from "../transport/link_address.ts";

/** A variable that is set. */
export interface HostVariable {
  readonly name: string;
  readonly text: string;
}

type Variables = { readonly [name: string]: string | undefined };

/** The machine's region. */
const REGION = ["FLY_REGION", "RAILWAY_REPLICA_REGION"];

/** Names of this machine or replica, which distinguish it within its service. */
const MACHINE = [
  "FLY_MACHINE_ID",
  "RAILWAY_REPLICA_ID",
  "RENDER_INSTANCE_ID",
  "K_REVISION",
  "HEROKU_DYNO_ID",
  "DYNO",
  "HOSTNAME",
];

/**
 * Variables that may be equal on several machines at one time: on all instances of a Cloud Run
 * revision, and on a Heroku dyno and its replacement.
 */
const SHARED: readonly string[] = ["K_REVISION", "DYNO"];
/** Random characters appended to the value of such a variable. */
const RANDOM_CHARACTERS = 8;

/**
 * The address at which others reach the machine: at the node's own port, or behind the host's TLS.
 */
const ADDRESS: readonly { readonly name: string; readonly tls: boolean }[] = [
  { name: "FLY_PRIVATE_IP", tls: false },
  { name: "RAILWAY_PRIVATE_DOMAIN", tls: false },
  { name: "RAILWAY_PUBLIC_DOMAIN", tls: true },
  { name: "HEROKU_PRIVATE_IP", tls: false },
];

/** The region as the host calls it; undefined if it doesn't say. */
export function hostRegion(env: Variables): HostVariable | undefined {
  return firstOf(env, REGION);
}

/**
 * The machine's name at its host; undefined if the host gives none. Some hosts set `HOSTNAME` to
 * the address on which servers have to listen: that names no machine, and is ignored. A name that
 * other machines may have as well gets a random suffix.
 */
export function hostMachine(
  env: Variables,
  random: Pick<Random, "uuid"> = systemRandom,
): string | undefined {
  const found = firstOf(env, MACHINE);
  if (!found || found.name === "HOSTNAME" && isIP(found.text) !== 0) return undefined;
  if (!SHARED.includes(found.name)) return found.text;
  return `${found.text}-${random.uuid().slice(0, RANDOM_CHARACTERS)}`;
}

/**
 * The URL at which the host's network reaches the listener on `host` and `port`; undefined if the
 * host doesn't say, or nothing beyond loopback can reach it.
 *
 * @throws AtlasError `bad_request`, naming the variable that holds no host.
 */
export function hostUrl(env: Variables, host: string, port: number): string | undefined {
  const found = firstOf(env, ADDRESS.map(({ name }) => name));
  // The address leads to the port that the host knows, not to an arbitrary free port.
  if (!found || isLoopback(host) || port === 0) return undefined;
  const tls = ADDRESS.find(({ name }) => name === found.name)?.tls ?? false;
  const name = isIP(found.text) === 6 ? `[${found.text}]` : found.text;
  const url = tls ? `https://${name}` : `http://${name}:${port}`;
  const isHost = isIP(found.text) !== 0 ||
    /^[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?$/.test(name);
  if (isHost && URL.canParse(url)) return url;
  throw new AtlasError(
    "bad_request",
    `${found.name} is ${JSON.stringify(found.text.slice(0, 80))}: it must be an IP address or a ` +
      `host name; ATLAS_PUBLIC_URL, where set, is taken in its place`,
  );
}

function firstOf(env: Variables, names: readonly string[]): HostVariable | undefined {
  for (const name of names) {
    const text = env[name]?.trim();
    if (text) return { name, text };
  }
  return undefined;
}
