/**
 * Catches unhandled errors and rejections of simulated code, so that they don't end the simulator's
 * process. Gives each as text. Runtimes report a rejection at different moments (Bun some events
 * late), so a report must not influence the simulation.
 */
import process from "node:process";
import { messageOf } from "../../src/errors.ts";

/** Turns of the event loop within which every runtime has told of the last rejection. */
const LAST_TURNS = 3;

/** Runs `run` and gives `heard` every error that nobody handled meanwhile. */
export async function catchUnhandled(
  heard: (message: string) => void,
  run: () => Promise<void>,
): Promise<void> {
  const onRejection = (reason: unknown): void => heard(`unhandled rejection: ${messageOf(reason)}`);
  const onError = (error: unknown): void => heard(`uncaught error: ${messageOf(error)}`);
  process.on("unhandledRejection", onRejection);
  process.on("uncaughtException", onError);
  try {
    await run();
  } catch (error) {
    onError(error);
  } finally {
    for (let turn = 0; turn < LAST_TURNS; turn++) {
      await new Promise<void>((resolve) => void setImmediate(resolve));
    }
    process.off("unhandledRejection", onRejection);
    process.off("uncaughtException", onError);
  }
}
