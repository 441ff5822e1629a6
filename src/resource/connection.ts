/**
 * A connection: a listener's seat at a resource, as the resource's own code sees it.
 *
 * Its socket is at some node, the *door*; what is said to it leaves with the turn's commit.
 */

/** A client's socket that is connected to this resource. */
export interface Connection {
  /** As its client knows it, from the first frame on. Stays when the resource moves. */
  readonly id: string;
  /** Whether an earlier owner, or this one before a pause, had it already. */
  readonly resumed: boolean;
  /**
   * Sends `data` to this connection only, once the running turn is committed. Does nothing
   * where it has gone.
   *
   * @throws AtlasError `bad_request` where no turn is running or `data` can't be encoded,
   * `payload_too_large` where the event or the turn's events are over their limit.
   */
  send(data: unknown): void;
  /**
   * Ends it once the running turn is committed and its client has what was sent before.
   * `onDisconnect` runs as for one that ended by itself.
   *
   * @param reason at most 120 printable ASCII characters; others are replaced.
   */
  close(reason?: string): void;
}

/** What a connection passes on to. */
export interface Speaker {
  say(data: unknown, to: Seated): void;
  dismiss(seated: Seated, reason: string): void;
}

/** A connection with the door that it is at. */
export class Seated implements Connection {
  readonly id: string;
  readonly resumed: boolean;
  /** The door's own name. */
  door: string;
  isGone = false;
  /** The number of the last message of its client that was heard; what hears more of them. */
  heard = 0;
  hearing: Promise<unknown> = Promise.resolve();
  readonly #speaker: Speaker;

  constructor(speaker: Speaker, id: string, door: string, resumed: boolean) {
    this.#speaker = speaker;
    this.id = id;
    this.door = door;
    this.resumed = resumed;
  }

  send(data: unknown): void {
    this.#speaker.say(data, this);
  }

  close(reason: string = ""): void {
    this.#speaker.dismiss(this, String(reason).replace(/[^\x20-\x7e]/g, "?").slice(0, 120));
  }
}
