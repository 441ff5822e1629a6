/**
 * Measures one growth line at one size in a process of its own, so that no measurement finds the
 * memory of a former one. Takes `FILE NAME SIZE`; prints `{"cost":…}` as its last line.
 */
import process from "node:process";
import { linesIn } from "./growth_lines.ts";

const [file = "", name = "", size = ""] = process.argv.slice(2);
const line = (await linesIn(file)).find((it) => it.name === name);
if (!line) {
  console.error(`${file} has no line named ${name}`);
  process.exit(2);
}
const cost = await line.measure(Number(size));
console.log(JSON.stringify({ cost }));
process.exit(0);
