#!/usr/bin/env node
/**
 * The command `atlas`: inspects, calls and drains a cluster from a terminal. See `atlas --help`.
 */
import process from "node:process";
import { runCli } from "./adapters/cli/run.ts";

process.exitCode = await runCli(process.argv.slice(2), process.env, {
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
});
