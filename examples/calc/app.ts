/**
 * The calc app: a shop that has nothing but abaci for hire, two of them.
 *
 * `ATLAS_APP=examples/calc/app.ts npm start` runs it; `npm run demo -- calc` tells its story.
 */
import { type App, defineApp } from "../../mod.ts";
import { calc } from "./calc.ts";

const app: App<Record<never, never>, { calc: typeof calc }> = defineApp({ modules: { calc } });
export default app;
