/**
 * The variables by which npm, Bun and Deno reach a package registry, for child processes that
 * install packages in an otherwise empty environment.
 */
import process from "node:process";

const NAMES =
  /^(?:npm_config_(?:registry|cafile|(?:https?_)?proxy|noproxy|strict_ssl)|NODE_EXTRA_CA_CERTS|SSL_CERT_(?:FILE|DIR)|(?:https?|no)_proxy)$/i;

export function npmSettings(): Record<string, string> {
  const all = Object.entries(process.env) as [string, string][];
  return Object.fromEntries(all.filter(([name]) => NAMES.test(name)));
}
