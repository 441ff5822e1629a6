/** Rule: processes don't exchange messages endlessly at one instant of virtual time. */
import type { MarketChecker } from "./checker.ts";

/** More events and letters than any ms has use for. */
const MAX_EVENTS = 5_000;
const MAX_MESSAGES = 20_000;

export const rest: MarketChecker = {
  name: "rest",
  watch({ world }, report) {
    let ms = 0;
    let events = 0;
    let letters = 0;
    return {
      messageSent(heard) {
        if (++letters === MAX_MESSAGES) report(`${letters} letters in 1 ms, by ${heard.process}`);
      },
      stepped(at) {
        if (Math.floor(at) !== ms) {
          ms = Math.floor(at);
          events = letters = 0;
        } else if (++events === MAX_EVENTS) {
          const busy = [...world().nodes()].map(({ process }) => process)
            .sort((one, other) => other.runs - one.runs);
          report(`${events} events in 1 ms, most of them at ${busy[0]?.id}`);
        }
      },
    };
  },
};
