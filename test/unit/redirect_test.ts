/** Covers src/model/redirect.ts: what an error says of the target of a redirect. */
import { expect, test } from "vitest";
import { redirectOf, redirectTo } from "../../src/model/redirect.ts";

test.each<[status: number, location: string | null, expected: string | null]>([
  [301, "https://a.example/x?token=t#f", "redirects to https://a.example/x (HTTP 301)"],
  [308, "https://user:secret@a.example/", "redirects to https://a.example/ (HTTP 308)"],
  [302, "/login", "redirects to http://n.example:8080/login (HTTP 302)"],
  [307, null, "redirects (HTTP 307)"],
  [307, "http://[", "redirects (HTTP 307)"],
  [
    302,
    "https://a.example/" + "x".repeat(500),
    `redirects to https://a.example/${"x".repeat(182)} (HTTP 302)`,
  ],
  [302, "https://a.example/a\u001b[31mb", "redirects to https://a.example/a%1B[31mb (HTTP 302)"],
  [304, null, null],
  [200, "https://a.example/", null],
  [404, null, null],
])("status %i with location %j is described without secrets", (status, location, expected) => {
  expect(redirectTo(status, location, "http://n.example:8080/v1/nodes")).toBe(expected);
});

test("in a browser the error says that there was a redirect, but not to where", () => {
  const headers = new Headers();
  expect(redirectOf({ status: 0, type: "opaqueredirect", headers }, "http://a/")).toBe("redirects");
});
