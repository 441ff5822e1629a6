/** Which pages and host names may reach a node: the rules for Origin and Host, case by case. */
import { describe, expect, test } from "vitest";
import { type OriginRules, refusalOf } from "../../adapters/http/origin_rules.ts";

const PAGE = "https://app.example";
const EVIL = "https://evil.example";
const CALL = "/v1/resources/rooms/lobby/say";

const rules = (given: Partial<OriginRules> = {}): OriginRules => ({
  origins: [],
  url: "http://10.1.2.3:8080",
  hasToken: true,
  hasSecret: false,
  ...given,
});
const open = (given: Partial<OriginRules> = {}) => rules({ hasToken: false, ...given });
type Given = { readonly [name: string]: string | undefined };
const refused = (headers: Given, given = rules(), path = CALL) =>
  refusalOf(path, new Headers(headers as Record<string, string>), given)?.message ?? null;

describe("the header Origin", () => {
  const host = "127.0.0.1:8080";

  test.each([
    ["none", { host }],
    ["the host and port of Host", { host, origin: `http://${host}` }],
    ["them behind TLS that ends before the node", {
      host: "a.example",
      origin: "https://a.example",
    }],
    ["the scheme's port, in Host alone", {
      host: "a.example:443",
      origin: "https://a.example",
    }],
    ["the scheme's port, in Origin alone", {
      host: "a.example",
      origin: "http://a.example:80",
    }],
    ["another case of letters", { host: "A.Example:8080", origin: "http://a.example:8080" }],
    ["an address of IPv6", { host: "[0:0::1]:8080", origin: "http://[::1]:8080" }],
    ["that of the public URL, whatever Host a proxy sends", {
      host,
      origin: "http://10.1.2.3:8080",
    }],
    ["a foreign one with a bearer token", { host, origin: EVIL, authorization: "Bearer x" }],
    ["a foreign one with the token as a subprotocol", {
      host,
      origin: EVIL,
      "sec-websocket-protocol": "atlas.json,atlas.token.x",
    }],
  ])("may be %s", (_, headers) => {
    expect(refused(headers)).toBe(null);
  });

  test.each([
    ["another host", { host, origin: EVIL }],
    ["null, as of a sandboxed frame", { host, origin: "null" }],
    ["empty", { host, origin: "" }],
    ["another port of the same host", { host, origin: "http://127.0.0.1:5173" }],
    ["the scheme's own port where Host has another", { host, origin: "http://127.0.0.1" }],
    ["the port of another scheme", { host: "a.example:443", origin: "http://a.example" }],
    ["a host that only begins like the node's", { host, origin: `http://${host}.evil.example` }],
    ["the node's host as a user name", { host, origin: `http://${host}@evil.example` }],
    ["the node's host under a scheme that is no web page's", { host, origin: `file://${host}` }],
    ["two at once", { host, origin: `http://${host}, ${EVIL}` }],
    ["anything where there is no Host", { origin: `http://${host}` }],
    ["foreign with a cookie", { host, origin: EVIL, cookie: "session=1" }],
    ["foreign with an empty Authorization", { host, origin: EVIL, authorization: "" }],
    ["foreign with what a browser sends by itself after a login", {
      host,
      origin: EVIL,
      authorization: "Basic YTpi",
    }],
    ["foreign with any other subprotocol", {
      host,
      origin: EVIL,
      "sec-websocket-protocol": "atlas.json, atlas.resume.x",
    }],
  ])("must not be %s", (_, headers) => {
    const message = refused(headers);
    expect(message).toContain("header Origin is ");
    expect(message).toContain("ATLAS_ORIGINS");
  });

  test("may be one that ATLAS_ORIGINS lists, or any if ATLAS_ORIGINS is *", () => {
    const listed = rules({ origins: [PAGE] });
    expect(refused({ host, origin: PAGE }, listed)).toBe(null);
    expect(refused({ host, origin: `${PAGE}:8443` }, listed)).toContain("header Origin");
    for (const origin of [PAGE, EVIL, "null"]) {
      expect(refused({ host, origin }, rules({ origins: ["*"] }))).toBe(null);
    }
  });

  test("is checked on links, probes and preflights, too", () => {
    for (const path of ["/atlas/link", "/healthz", "/readyz", "/metrics", "/", "/v1/drain"]) {
      for (const given of [rules(), open(), rules({ hasSecret: true })]) {
        expect(refused({ host, origin: EVIL }, given, path)).toContain("header Origin");
      }
    }
  });

  test("a token as a subprotocol counts only on routes that check tokens", () => {
    const headers = { host, origin: EVIL, "sec-websocket-protocol": "atlas.token.x" };
    expect(refused(headers, open())).toContain("header Origin");
    expect(refused(headers, open({ hasSecret: true }), "/atlas/link")).toContain("header Origin");
  });
});

describe("the header Host on a node without a token", () => {
  const origins = [PAGE, "http://other.example:5173"];

  test.each([
    "localhost",
    "LOCALHOST:99",
    "app.localhost:8080",
    "localhost.:8080",
    "127.0.0.1:8080",
    "127.9.9.9",
    "[::1]:8080",
    "[::ffff:127.0.0.1]:8080",
    "10.1.2.3:8080",
    "10.1.2.3",
    "app.example",
    "other.example:8080",
  ])("may be %s", (host) => {
    expect(refused({ host }, open({ origins }))).toBe(null);
  });

  test.each([
    "evil.example",
    "evil.example:8080",
    "10.1.2.4:8080",
    "0.0.0.0:8080",
    "localhost.evil.example",
    "127.0.0.1.evil.example:8080",
    "app.example.evil.example",
    "evil.example#localhost",
    "localhost@evil.example",
    "evil.example:8080, localhost",
    "[::1",
    "xn--",
  ])("must not be %s", (host) => {
    const message = refused({ host }, open({ origins }));
    expect(message).toContain("header Host is ");
    for (const name of ["ATLAS_TOKEN", "ATLAS_PUBLIC_URL", "ATLAS_ORIGINS"]) {
      expect(message).toContain(name);
    }
    // A page of the rebound name has the same origin.
    expect(refused({ host, origin: `http://${host}` }, open({ origins }))).not.toBe(null);
  });

  test("may be any for probes, with ATLAS_ORIGINS=*, and on links that need a secret", () => {
    const host = "evil.example:8080";
    for (const path of ["/healthz", "/readyz"]) expect(refused({ host }, open(), path)).toBe(null);
    expect(refused({ host }, open({ origins: ["*"] }))).toBe(null);
    expect(refused({ host }, open({ hasSecret: true }), "/atlas/link")).toBe(null);
    expect(refused({ host }, open(), "/atlas/link")).toContain("header Host");
    expect(refused({ host }, open({ hasSecret: true }), "/metrics")).toContain("header Host");
  });

  test("may be absent or empty, because browsers always send one", () => {
    expect(refused({}, open())).toBe(null);
    expect(refused({ host: "" }, open())).toBe(null);
  });

  test("may be any with a token, and loopback before the node's own URL is known", () => {
    expect(refused({ host: "evil.example" }, rules())).toBe(null);
    expect(refused({ host: "localhost" }, open({ url: undefined }))).toBe(null);
    expect(refused({ host: "evil.example" }, open({ url: undefined }))).toContain("header Host");
  });
});

test("headers of any length are checked in linear time", () => {
  for (const part of ["a", "a.", "a:", ":", "[", "%41", "/", "\t ", "atlas.token,", "Basic "]) {
    const long = part.repeat(Math.ceil(60_000 / part.length));
    for (
      const headers of [
        { host: long, origin: `http://${long}` },
        { host: "localhost", origin: `https://${long}`, authorization: `Basic ${long}` },
        { host: "localhost", origin: EVIL, "sec-websocket-protocol": long },
      ]
    ) expect(refused(headers, open())).toContain("header ");
  }
});
