/**
 * The calc app: the module `calc` with a capacity of 2.
 *
 * `ATLAS_APP=examples/calc/app.ts npm start` runs it; `npm run demo -- calc` demonstrates it.
 */
import { type App, defineApp } from "../../mod.ts";
import { calc } from "./calc.ts";

const app: App<Record<never, never>, { calc: typeof calc }> = defineApp({ modules: { calc } });
export default app;
