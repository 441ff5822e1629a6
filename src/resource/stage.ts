/** What an activation needs of the house it plays in; the host is one. */
import type { Atlas } from "../api.ts";
import type { ResolvedType } from "../app.ts";
import { AtlasError } from "../errors.ts";
import { MAX_RESOURCES } from "../limits.ts";
import type { Call } from "../model/call.ts";
import type { NodeEvent } from "../model/event.ts";
import type { AsyncContext } from "../ports/async_context.ts";
import type { Clock } from "../ports/clock.ts";
import type { Random } from "../ports/random.ts";
import type { Store } from "../ports/store.ts";
import type { Claims } from "../registry/claim.ts";
import type { Deadlines } from "../time/deadlines.ts";
import type { Activation } from "./activation.ts";
import type { HarbourParts } from "./harbour.ts";
import type { Method } from "./methods.ts";
import type { Usher } from "./usher.ts";

/** What is counted of all activations of one host. */
export interface TurnStats {
  /** Calls that wait in mailboxes now. */
  queued: number;
  turns: number;
  commits: number;
  /** Events that were sent to connections. */
  events: number;
  /** Ownerships lost to a greater claim. */
  conflictsLost: number;
  /** Times that another node had gone on with what is owned here. */
  conflictsWon: number;
  /** Turns answered without the store that were committed later, and that could not be. */
  landedTurns: number;
  strandedTurns: number;
  /** Turns that had been committed, and were found missing after the store failed over. */
  lostTurns: number;
}

export function noTurns(): TurnStats {
  return {
    queued: 0,
    turns: 0,
    commits: 0,
    events: 0,
    conflictsLost: 0,
    conflictsWon: 0,
    landedTurns: 0,
    strandedTurns: 0,
    lostTurns: 0,
  };
}

/** `Self` is the activation's own type. */
export interface Stage<Self> {
  readonly store: Store;
  readonly clock: Clock;
  readonly context: AsyncContext;
  readonly random: Random;
  readonly deadlines: Deadlines;
  readonly stats: TurnStats;
  readonly usher: Usher;
  /** The id of the store's lineage, as far as this node knows. */
  readonly lineage: string | undefined;
  /** The same with its term, by `markOf`. */
  readonly lineageMark: string | undefined;
  /** Sweeps for idle activations made so far. */
  readonly sweeps: number;
  /** The door through which an activation calls others. */
  readonly outlet: (from: Self) => Atlas;
  /** The method a call asks for. @throws AtlasError `not_found` */
  method(type: ResolvedType, call: Call): Method;
  /** An activation has ended. */
  closed(activation: Self): void;
  /** The store says that an activation's ownership has ended. */
  fenced(activation: Self): void;
  tell(level: NodeEvent["level"], event: string, fields: NodeEvent["fields"]): void;
}

/** @throws AtlasError `overloaded` where a node that holds so many can't take another one. */
export function checkRoom(held: number): void {
  if (held <= MAX_RESOURCES) return;
  throw new AtlasError("overloaded", `this node holds ${MAX_RESOURCES} resources already`);
}

/** What a host is made of. */
export interface HostParts {
  readonly types: ReadonlyMap<string, ResolvedType>;
  readonly place: { readonly region: string; readonly node: string };
  readonly store: Store;
  readonly clock: Clock;
  readonly context: AsyncContext;
  readonly random: Random;
  readonly claims: Claims;
  readonly deadlines: Deadlines;
  /** The door through which a resource calls others, carrying its running call's chain. */
  readonly outlet: (from: Activation) => Atlas;
  readonly onEvent: (event: NodeEvent) => void;
  /** Whether an incarnation is known to be dead. */
  readonly isDead: (incarnation: string) => boolean;
  /** Tells a key's owner that this node had gone on with it. MUST NOT throw. */
  readonly tellWinner: HarbourParts["tellWinner"];
}
