/**
 * Runs before each test file: removes variables of the user's environment that a node reads, and
 * turns off logging of nodes in the test's process, because there are hundreds of them.
 */
import process from "node:process";
import { configureLogging } from "../../adapters/server/logging.ts";

const READ = /^(?:ATLAS|FLY|RAILWAY|RENDER|HEROKU|K)_|^(?:PORT|DYNO|HOSTNAME)$/;
/** Variables that `npm test` itself sets. */
const OWN = /^ATLAS_TEST_/;

for (const name of Object.keys(process.env)) {
  if (READ.test(name) && !OWN.test(name)) delete process.env[name];
}

configureLogging("silent");
