#!/usr/bin/env node
/**
 * `atlas`: look, call, trade, drain, from a terminal. See `atlas --help`.
 */
import process from "node:process";
import { runCli } from "./adapters/cli/run.ts";

process.exitCode = await runCli(process.argv.slice(2), process.env, {
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
});
