/** What the post office of a node is made of: its links, as far as it needs them, and the ports. */
import type { Post as PostMessage } from "../model/envelope.ts";
import type { NodeEvent } from "../model/event.ts";
import type { Clock } from "../ports/clock.ts";
import type { Random } from "../ports/random.ts";
import type { Peer } from "../ports/transport.ts";

/** A line to another node, as the post office needs it. */
export interface Line {
  readonly peer: { readonly incarnation: string };
  post(message: PostMessage): boolean;
  close(reason: string): void;
}

/** What a post office is made of. */
export interface PostParts {
  readonly clock: Clock;
  readonly random: Random;
  /** This node, in its present life. */
  readonly self: () => Peer;
  /** What the registry says of an incarnation. */
  readonly member: (incarnation: string) => Peer | undefined;
  /** The open line to a node. */
  readonly present: (incarnation: string) => Line | undefined;
  /** Opens one. */
  readonly dial: (peer: Peer) => Promise<Line>;
  /** Opens one to whoever answers at an address; null: this node itself. */
  readonly meet: (address: string) => Promise<Line | null>;
  readonly onEvent: (event: NodeEvent) => void;
}
