/** Redaction of registry URLs in messages: no password is ever shown, whatever its characters. */
import { describe, expect, test } from "vitest";
import { quotedUrl, redactIn, redactUrl } from "../../adapters/store/redact_url.ts";
import { openStore } from "../../adapters/store/open/open.ts";
import { openRaceStores } from "../../adapters/store/open/race.ts";

test.each([
  ["redis://:s3cret@host:1/0", "redis://***@host:1/0"],
  ["redis://me:s3cret@host", "redis://***@host"],
  ["rediss://default:AbC/dEf@h.upstash.io:6379", "rediss://***@h.upstash.io:6379"],
  ["redis://u:p#ssword1@h", "redis://***@h"],
  ["redis://u:se@cret@h/1", "redis://***@h/1"],
  ["redis+cluster://u:p?ssw@h:1,h2", "redis+cluster://***@h:1,h2"],
  ["rediss://default://AbC@h", "rediss://***@h"],
  ["u:p@host", "***@host"],
  ["redis://default:AbC/dEf", "redis://default:***"],
  ["redis+sentinel://h:1,u:se,cret/m", "redis+sentinel://h:1,u:***"],
  ["static:node-1:80a", "static:node-1:80a"],
  ["redis://[::1]:6379/x", "redis://[::1]:6379/x"],
  ["redis://h:99999/x?replicas=1", "redis://h:99999/x?replicas=1"],
  ["redis://host?password=s3cret&a=1", "redis://host?password=***&a=1"],
  ["redis+sentinel://h/m?sentinelPassword=s3@cret", "redis+sentinel://***"],
  ["redis://u:p@h?replicas=2", "redis://***@h?…"],
  [
    "us=redis://u:a/b@h:1, local=redis://:t0p/s3cret@h:2,eu=file:x@y.db",
    "us=redis://***@h:1, local=redis://***@h:2,eu=file:x@y.db",
  ],
  ["static:https://me:x/y@a,https://b", "static:https://***@a,https://b"],
  ['{"static":["https://me:x/y@a"]}', '***@a"]}'],
  ["file:.atlas/registry.db", "file:.atlas/registry.db"],
  ["file:///home/me@work/registry.db", "file:///home/me@work/registry.db"],
  ["us=memory:,eu=redis://h/0?replicas=1", "us=memory:,eu=redis://h/0?replicas=1"],
])("%s is shown as %s", (url, shown) => {
  expect(redactUrl(url)).toBe(shown);
});

describe("a message that quotes a URL", () => {
  test("doesn't show the password in any form", () => {
    const url = "redis://:s3%21cret/@host:1/0";
    const message = `can't reach ${url}: neither s3!cret/ nor s3!cret%2F is right`;
    expect(redactIn(message, [url])).toBe(
      "can't reach redis://***@host:1/0: neither *** nor *** is right",
    );
  });

  test("loses a short password only where it is a whole word", () => {
    const message = "Upstash URL is wrong: p isn't a part";
    expect(redactIn(message, ["https://u:p@host"])).toBe("Upstash URL is wrong: *** isn't a part");
  });

  test("is redacted although the password isn't percent-encoded UTF-8", () => {
    expect(redactIn("it is %ffhunter2", ["redis://u:%ffhunter2@h"])).toBe("it is ***");
  });
});

test("quotes text of bounded length", () => {
  expect(quotedUrl(undefined)).toBe('"undefined"');
  expect(quotedUrl(`redis://${"h".repeat(300)}`)).toHaveLength(202);
});

describe("a refusal never shows a password", () => {
  const URLS = [
    "redis://u:hunter2@host:99999",
    "redis://u:hun/ter2@h",
    "redis://u:1/hunter2@h",
    "redis://u:1#hunter2@h",
    "redis://u:1?hunter2@h",
    "redis://:hunter2/x@h:1",
    "redis+sentinel://u:se@hunter2@h/m",
    "redis+sentinel://u:1/hunter2@h",
    "redis+cluster://u:p?hunter2@h",
    "redis+cluster://u:1/hunter2@h",
    "redis+cluster://u:p?hunter2=hunter3@h",
    "amqp://u:hunter2@host",
    "https://u:hunter2@h",
    "https://u:1/hunter2@h",
    "https://u:hunter2/@h",
    "us=amqp://u:hunter2@host",
    "us=redis://u:1/hunter2@host",
  ];

  test.each(URLS)("%s", async (url) => {
    const error = await openStore(url, { region: "us", token: "t" }).catch((reason) => reason);
    expect(error.code).toBe("bad_request");
    expect(error.message).not.toMatch(/hun\/?ter\d/);
  });

  test.each(URLS)("%s, in a race", async (url) => {
    const options = { count: 2, token: "t" };
    const error = await openRaceStores(url, options).catch((reason) => reason);
    expect(error.code).toBe("bad_request");
    expect(error.message).not.toMatch(/hun\/?ter\d/);
  });
});
