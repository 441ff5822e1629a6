/**
 * The other end of a node's link: real hellos, proofs and messages over a raw connection, each of
 * which an input may change. Takes a connection and the cluster's secret.
 */
import { linkAddress } from "../adapters/transport/link_address.ts";
import {
  checkWelcome,
  decodeChallenge,
  encodeHello,
  encodeProof,
  importKeys,
  sign,
} from "../adapters/transport/link_handshake.ts";
import type { Message } from "../src/model/envelope.ts";
import { ANYONE, type LinkIdentity } from "../src/ports/transport.ts";
import { FrameReader } from "../test/support/frames.ts";
import { binaryFrame } from "../test/support/link_messages.ts";
import type { Attack } from "./attack.ts";
import { BINARY, frame, TEXT, upgrade } from "./frames.ts";
import type { RawConnection } from "./lines.ts";

/** The path of links. */
export const LINK = "/atlas/link";
/** How long a step of a handshake may take, in ms. */
const STEP_MS = 3_000;
const WANTED: LinkIdentity = { region: ANYONE, node: ANYONE, incarnation: ANYONE };

/** A socket on which a link was requested. */
export class Peer {
  readonly line: RawConnection;
  readonly self: LinkIdentity;
  /** The address that the peer claims to have dialled. */
  readonly #address: string;
  readonly #keys: Promise<CryptoKey[]>;
  /** The first messages sent and received, once there are any. */
  hello: Uint8Array = new Uint8Array(0);
  challenge: Uint8Array = new Uint8Array(0);

  constructor(line: RawConnection, self: LinkIdentity, address: string, secret: string) {
    this.line = line;
    this.self = self;
    this.#address = address;
    this.#keys = importKeys([secret]);
  }

  /** Requests a link; null if the node accepts no further links now. */
  static async ask(attack: Attack, secret: string): Promise<Peer | null> {
    const line = await attack.say(upgrade(LINK));
    if (!await line.until((bytes) => bytes.includes("\r\n\r\n"), STEP_MS)) return null;
    const { draw } = attack;
    const self = { region: "local", node: `peer-${draw.below(8)}`, incarnation: draw.uuid() };
    return / 101 /.test(line.bytes.toString("latin1", 0, 20))
      ? new Peer(line, self, linkAddress(attack.target.node.url), secret)
      : null;
  }

  /** Makes a hello, without sending it. */
  makeHello(): Uint8Array {
    return this.hello = encodeHello(this.self, WANTED, this.#address);
  }

  /** Makes the proof that answers the challenge, without sending it. */
  async makeProof(): Promise<Uint8Array> {
    return encodeProof(await sign(await this.#keys, this.hello, this.challenge));
  }

  /** Sends one frame of bytes. */
  send(bytes: Uint8Array): Promise<boolean> {
    return this.line.write(frame(bytes, { opcode: BINARY }));
  }

  /** Sends one frame of text. */
  sendText(text: string): Promise<boolean> {
    return this.line.write(frame(text, { opcode: TEXT }));
  }

  /** Sends one message of a link. */
  sendMessage(message: Message): Promise<boolean> {
    return this.send(binaryFrame(message));
  }

  /** Sends a hello and waits for the challenge; false if none arrives. */
  async greet(): Promise<boolean> {
    await this.send(this.makeHello());
    const [challenge] = await this.frames(1);
    if (!challenge || !decodeChallenge(challenge)) return false;
    this.challenge = challenge;
    return true;
  }

  /** Runs the whole handshake; false if the node refuses. */
  async join(): Promise<boolean> {
    if (!await this.greet()) return false;
    const signatures = await sign(await this.#keys, this.hello, this.challenge);
    await this.send(encodeProof(signatures));
    const welcome = (await this.frames(2))[1];
    return welcome !== undefined && checkWelcome(welcome, signatures);
  }

  /** The payloads of the first frames received; fewer if no more arrive. */
  async frames(count: number): Promise<Buffer[]> {
    const read = (): Buffer[] => new FrameReader().read(this.line.bytes);
    await this.line.until(() => read().length >= count, STEP_MS);
    return read();
  }
}
