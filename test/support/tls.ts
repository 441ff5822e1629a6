/**
 * Certificates for tests.
 *
 * Makes an authority (CA) and certificates of it with the `openssl` command in a folder of
 * their own, and gives the settings with which a Redis uses them. They hold for a day.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { redisMissing } from "./redis.ts";

/** Why no Redis with TLS can be started here; null if one can. */
export const tlsMissing: string | null = redisMissing ?? whatIsMissing();

function whatIsMissing(): string | null {
  if (spawnSync("openssl", ["version"], { stdio: "ignore" }).status !== 0) {
    return "the command openssl is not installed on this machine";
  }
  // A build with TLS reports the missing certificate, one without TLS reports an unknown setting.
  const { stdout } = spawnSync("redis-server", ["--port", "0", "--tls-port", "1"], {
    encoding: "utf8",
    timeout: 60_000,
  });
  return stdout.includes("tls-cert-file") ? null : "redis-server is built without TLS";
}

/** A key and its certificate, with the authority's own. */
export interface Certificate {
  readonly key: string;
  readonly certificate: string;
  /** The authority's certificate, for clients that trust it. */
  readonly authority: string;
}

export interface TestAuthority {
  /** The file with the authority's certificate. */
  readonly file: string;
  /** Makes a certificate for names, as in `IP:127.0.0.1,DNS:localhost`. */
  certify(names: string): Certificate;
  /** Removes all its files. */
  close(): void;
}

/** Makes an authority. */
export function makeAuthority(): TestAuthority {
  const folder = mkdtempSync(join(tmpdir(), "atlas-tls-"));
  const at = (name: string): string => join(folder, name);
  const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  const subject = (name: string): string[] => ["-subj", `/CN=${name}`];
  const authority = at("ca.crt");
  const written = ["-keyout", at("ca.key"), "-out", authority];
  const usage = ["-addext", "keyUsage=critical,keyCertSign"];
  openssl("req", "-x509", "-days", "1", newKey, usage, subject("Atlas test authority"), written);
  let made = 0;
  return {
    file: authority,
    certify(names) {
      const stem = at(String(made++));
      const [key, request, certificate] = [`${stem}.key`, `${stem}.csr`, `${stem}.crt`];
      writeFileSync(`${stem}.ext`, `subjectAltName=${names}\n`);
      openssl("req", "-new", newKey, subject("redis"), "-keyout", key, "-out", request);
      const signed = ["-CA", authority, "-CAkey", at("ca.key"), "-CAcreateserial", "-days", "1"];
      openssl(
        "x509",
        "-req",
        "-in",
        request,
        signed,
        "-extfile",
        `${stem}.ext`,
        "-out",
        certificate,
      );
      return { key, certificate, authority };
    },
    close: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/**
 * The arguments with which a `redis-server` also listens with TLS, and uses TLS for its connections
 * to other servers.
 */
export function tlsArguments(port: number, { key, certificate, authority }: Certificate): string[] {
  return [
    ...["--tls-port", String(port), "--tls-cert-file", certificate, "--tls-key-file", key],
    ...["--tls-ca-cert-file", authority, "--tls-auth-clients", "no"],
    ...["--tls-replication", "yes", "--tls-cluster", "yes"],
  ];
}

function openssl(...words: (string | readonly string[])[]): void {
  const { status, stderr } = spawnSync("openssl", words.flat(), { encoding: "utf8" });
  if (status !== 0) throw new Error(`openssl ${words.flat().join(" ")}: ${stderr}`);
}
