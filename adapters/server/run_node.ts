/**
 * Runs a node as a process.
 *
 * Takes the environment, signals and uncaught errors; writes one ready line on standard output and
 * logs on standard error. Exit status: 0 after a drain, also if a signal came before it served; 1
 * if the node's name was taken; 2 if it can't start.
 */
import { readFileSync } from "node:fs";
import process from "node:process";
import type { NodeEvent } from "../../src/api/node.ts";
import { type AtlasError, detailOf, isAtlasError, stackOf } from "../../src/errors.ts";
import { appUrl, loadApp } from "../app_loader/load_app.ts";
import { readAppPath, readLogLevel, readSettings } from "../config/environment.ts";
import { configureLogging, eventLog, type LogPlace } from "./logging.ts";
import { serve } from "./serve.ts";
import type { ServedNode } from "./served_node.ts";

/** The exit statuses of processes that signals ended: 128 plus the signal's number. */
const SIGNAL_STATUS = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;

/** The node of this process, once it has been made. */
let place: LogPlace = {};

/** Runs one node for as long as the process lives; installs its process handlers. */
export async function runNode(): Promise<void> {
  const started = start();
  const isStopping = handleSignals(started);
  let node: ServedNode;
  try {
    node = await started;
  } catch (error) {
    if (isStopping()) return;
    return exitWith(statusOf(error), `atlas: ${oneLine(detailOf(error))}\n`);
  }
  const { url, region, node: name, incarnation } = node;
  place = { region, node: name };
  const ready = { event: "ready", url, region, node: name, incarnation };
  process.stdout.write(JSON.stringify(ready) + "\n");
  const error = await node.closed;
  if (error) {
    log("error", "the node stopped", { code: error.code, error: detailOf(error) });
    exitWith(1, "");
  }
}

async function start(): Promise<ServedNode> {
  // A closed output stream is no reason to stop, and nothing can be written to it anyway.
  process.stdout.on("error", () => {});
  process.stderr.on("error", () => {});
  configureLogging(readLogLevel(process.env));
  const path = readAppPath(process.env);
  const { watch } = readSettings(process.env);
  const app = await loadApp(path);
  handleUncaughtErrors();
  return await serve(app, watch === false ? {} : { watch: appUrl(path).href });
}

/**
 * The first signal drains, a second one ends the process at once. Gives whether the first signal
 * came.
 */
function handleSignals(started: Promise<ServedNode>): () => boolean {
  let stopping = false;
  for (const signal of drainSignals()) {
    process.on(signal, () => {
      if (stopping) process.exit(SIGNAL_STATUS[signal]);
      stopping = true;
      log("info", "draining", { signal });
      stop(started).then(
        () => exitWith(0, ""),
        (error: unknown) => exitWith(statusOf(error), `atlas: ${oneLine(detailOf(error))}\n`),
      );
    });
  }
  return () => stopping;
}

/** Drains a node. A node that couldn't start has nothing to hand over. */
async function stop(started: Promise<ServedNode>): Promise<void> {
  const node = await started.catch((error: unknown) => {
    log("warning", "the start was cancelled", { error: detailOf(error) });
    return null;
  });
  await node?.close();
}

/** An unhandled rejection in user code must not end the node's other resources. */
function handleUncaughtErrors(): void {
  for (const kind of ["unhandledRejection", "uncaughtException"]) {
    process.on(kind, (thrown: unknown) => {
      log("error", "uncaught error", { kind, error: stackOf(thrown) });
    });
  }
}

function statusOf(error: unknown): number {
  return isAtlasError(error) && (error as AtlasError).code === "node_name_taken" ? 1 : 2;
}

/**
 * The signals that drain a node. Under `nohup` Bun ignores SIGHUP, as it should; Deno and Node
 * reset that when they start, so SIGHUP would end them.
 */
function drainSignals(): (keyof typeof SIGNAL_STATUS)[] {
  const isIgnored = process.versions["bun"] !== undefined && isHangupIgnored();
  return isIgnored ? ["SIGTERM", "SIGINT"] : ["SIGTERM", "SIGINT", "SIGHUP"];
}

function isHangupIgnored(): boolean {
  try {
    const status = readFileSync("/proc/self/status", "utf8");
    const mask = /^SigIgn:\s*([\da-f]+)/m.exec(status)?.[1];
    return mask !== undefined && (Number.parseInt(mask.slice(-1), 16) & 1) === 1;
  } catch {
    // The system is not Linux, or the file may not be read.
    return false;
  }
}

function log(level: NodeEvent["level"], event: string, fields: NodeEvent["fields"]): void {
  // LogTape is configured by then, unless its configuration is what failed.
  eventLog("info", () => place)({ level, event, fields });
}

/** Ends the process once `text` is written. */
function exitWith(status: number, text: string): void {
  process.stderr.write(text, () => process.exit(status));
}

function oneLine(text: string): string {
  return text.split(/[\r\n]+/).map((line) => line.trim()).filter(Boolean).join(" ");
}
