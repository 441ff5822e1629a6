/**
 * Code that outlives its turn is refused by every API of the turn, on this runtime; code that the
 * turn awaits is not.
 */
import { afterAll, expect, test } from "vitest";
import { systemContext } from "../../adapters/system/async_context.ts";
import {
  type Atlas,
  createNode,
  defineApp,
  defineModule,
  inProcessTransport,
  type Lookup,
  memoryStore,
  type ModuleProxy,
  Resource,
} from "../../mod.ts";
import { until } from "../support/until.ts";

/** Gates on which code waits until a test opens them. */
class Gate {
  readonly opened: Promise<void>;
  open!: () => void;

  constructor() {
    this.opened = new Promise((resolve) => this.open = resolve);
  }
}

const gates = new Map<string, Gate>();
const gate = (name: string): Gate => {
  const known = gates.get(name);
  if (known) return known;
  const made = new Gate();
  gates.set(name, made);
  return made;
};

/** The turns of {@link Room.busy} that have begun. */
const busy = new Set<string>();
/** The outcomes of work that no code awaits. */
const ended: Record<string, unknown> = {};

class Room extends Resource {
  calc: ModuleProxy | null = null;
  stub: Pick<Room, "echo"> | null = null;

  override async onStart(): Promise<void> {
    if (!this.id.startsWith("buys")) return;
    this.calc = await this.node.discover("calc");
    this.stub = this.node.resource("rooms", "other") as unknown as Room;
  }

  /** Begins work that goes on after this turn, and does something when `name`'s gate opens. */
  detach(name: string, what: string): void {
    const work = async (): Promise<unknown> => {
      await gate(name).opened;
      return await this.#use(what);
    };
    work().then(
      (value) => (ended[name] = { value }),
      (error) => (ended[name] = { code: error.code, message: error.message }),
    );
  }

  async #use(what: string): Promise<unknown> {
    switch (what) {
      case "put":
        return await this.storage.put("left", 1);
      case "get":
        return await this.storage.get("left");
      case "delete":
        return await this.storage.delete("kept");
      case "list":
        return [...await this.storage.list()];
      case "broadcast":
        return this.broadcast("left");
      case "call":
        return await this.node.call("rooms", "other", "echo", ["hi"]);
      case "stub":
        return await this.stub?.echo("hi");
      case "lookup":
        return await this.node.lookup("rooms", "other");
      case "members":
        return await this.node.members();
      case "discover":
        return await this.node.discover("calc");
      case "request":
        return await this.node.request("calc", "twice", [2]);
      case "module":
        return await this.calc?.["twice"]?.(2);
      case "caller":
        return this.caller;
      case "traceparent":
        return this.traceparent;
      case "signal":
        return this.signal.aborted;
      default:
        return this.key;
    }
  }

  echo(text: string): string {
    return text;
  }

  /** Another caller's turn: runs until its gate opens. */
  async busy(name: string, fails: boolean): Promise<void> {
    await this.storage.put("kept", name);
    busy.add(name);
    await gate(name).opened;
    if (fails) throw new Error("somebody else's bad input");
  }

  async state(): Promise<[string, unknown][]> {
    return [...await this.storage.list()];
  }

  /** Kinds of asynchronous continuation in a turn, each of which the turn waits for. */
  async everyWay(): Promise<string[]> {
    const done: string[] = [];
    const put = (way: string): Promise<void> =>
      this.storage.put(way, 1).then(() => void done.push(way));
    await put("straight on");
    await new Promise<void>((resolve, reject) =>
      setTimeout(() => put("timer").then(resolve, reject), 1)
    );
    await new Promise<void>((resolve, reject) =>
      queueMicrotask(() => put("microtask").then(resolve, reject))
    );
    await Promise.all([1, 2].map((n) => this.#later(() => put(`in parallel ${n}`))));
    await {
      then: (resolve: () => void, reject: () => void) => put("thenable").then(resolve, reject),
    };
    for await (const n of this.#counted()) await put(`generator ${n}`);
    const target = new EventTarget();
    await new Promise<void>((resolve, reject) => {
      target.addEventListener("go", () => void put("event").then(resolve, reject));
      target.dispatchEvent(new Event("go"));
    });
    const stream = new ReadableStream<number>({
      start: (controller) => {
        controller.enqueue(1);
        controller.close();
      },
    });
    for await (const n of stream) await put(`stream ${n}`);
    await this.node.call("rooms", "other", "echo", ["x"]);
    await put("after a call");
    return done;
  }

  async #later(run: () => Promise<void>): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, 2));
    await run();
  }

  async *#counted(): AsyncGenerator<number> {
    await this.storage.get("nothing");
    yield 1;
    await this.storage.get("nothing");
    yield 2;
  }

  /** A result whose work begins when it is awaited, like a query builder's. */
  lazy(): PromiseLike<string> {
    return {
      // deno-lint-ignore no-explicit-any
      then: (resolve: any, reject: any) =>
        this.storage.put("lazy", 1).then(() => "done").then(resolve, reject),
    };
  }

  async useKept(): Promise<unknown[]> {
    return [await this.calc?.["twice"]?.(4), await this.stub?.echo("kept")];
  }

  /** Calls itself through another resource; the inner call joins this turn. */
  async around(): Promise<unknown> {
    await this.storage.put("outer", 1);
    const inner = await this.node.call("joiners", "via", "back", [this.id]);
    await this.storage.put("after", 1);
    return inner.result;
  }
}

class Joiner extends Resource {
  async back(id: string): Promise<unknown> {
    return (await this.node.call("joining", id, "join", [])).result;
  }
}

/** Reentrant: a call that returns here joins the turn that waits for it. */
class Joining extends Room {
  async join(): Promise<number> {
    await this.storage.put("inner", 1);
    const work = async (): Promise<void> => {
      await gate("joined").opened;
      await this.storage.put("left", 1);
    };
    work().catch((error) => (ended["joined"] = { code: error.code }));
    return 1;
  }
}

const app = defineApp({
  resources: {
    rooms: Room,
    joiners: Joiner,
    joining: { class: Joining, reentrant: true },
  },
  modules: {
    calc: defineModule({
      version: "1.0.0",
      capacity: 8,
      functions: { twice: (n: number) => 2 * n },
    }),
  },
});

const node = await createNode(app, {
  region: "local",
  node: "one",
  store: memoryStore(),
  transport: inProcessTransport(),
});
afterAll(() => node.close());

// deno-lint-ignore no-explicit-any
const room = (id: string, type: "rooms" | "joining" = "rooms"): any =>
  (node as Atlas).resource(type, id);

/** Makes work of an earlier turn use `what` during a later turn, which fails or not. */
async function useLate(id: string, what: string, fails = false): Promise<unknown> {
  const name = `${id} ${what} ${fails}`;
  await room(id).detach(name, what);
  const other = room(id).busy(`${name} busy`, fails).catch((error: Error) => error.message);
  await until(() => busy.has(`${name} busy`), "the other turn runs");
  gate(name).open();
  await until(() => name in ended, `work that uses ${what} has ended`);
  gate(`${name} busy`).open();
  await other;
  return ended[name];
}

const refused = (what: string) => ({
  code: "bad_request",
  message: expect.stringMatching(new RegExp(`^this\\.${what} of rooms/\\S+ was used by code that`)),
});

test.each([false, true])(
  "a write of code that outlived its turn is refused, and joins no other caller's turn (that fails: %s)",
  async (fails) => {
    const id = `writes-${fails}`;
    expect(await useLate(id, "put", fails)).toEqual(refused("storage"));
    const kept = fails ? [] : [["kept", `${id} put ${fails} busy`]];
    expect(await room(id).state()).toEqual(kept);
  },
);

test.each([
  ["get", "storage"],
  ["delete", "storage"],
  ["list", "storage"],
  ["broadcast", "broadcast"],
  ["call", "node"],
  ["lookup", "node"],
  ["members", "node"],
  ["discover", "node"],
  ["request", "node"],
  ["caller", "caller"],
  ["traceparent", "traceparent"],
])("%s by work that outlived its turn is refused, beside a turn", async (what, property) => {
  expect(await useLate(`used-${what}`, what)).toEqual(refused(property));
});

test.each(["put", "get", "broadcast", "call"])(
  "%s by work that outlived its turn is refused while no turn is running",
  async (what) => {
    const name = `idle ${what}`;
    await room("idle").detach(name, what);
    gate(name).open();
    await until(() => name in ended, "it has ended");
    expect(ended[name]).toMatchObject({ code: "bad_request" });
  },
);

test("the signal of work that outlived its turn is the resource's own", async () => {
  expect(await useLate("signals", "signal")).toEqual({ value: false });
});

test("a stub and a module proxy that were made in onStart are usable in every turn", async () => {
  expect(await room("buys").useKept()).toEqual([8, "kept"]);
});

test("a stub is used in the turn in which its method is called, a module proxy anywhere", async () => {
  expect(await useLate("buys-2", "stub")).toEqual(refused("node"));
  expect(await useLate("buys-2", "module")).toEqual({ value: 4 });
});

test("code that its turn awaits uses storage, by any kind of continuation", async () => {
  const ways = await room("ways").everyWay();
  expect(ways).toEqual([
    "straight on",
    "timer",
    "microtask",
    "in parallel 1",
    "in parallel 2",
    "thenable",
    "generator 1",
    "generator 2",
    "event",
    "stream 1",
    "after a call",
  ]);
  expect((await room("ways").state()).length).toBe(ways.length);
});

test("a result whose work begins when it is awaited belongs to the turn", async () => {
  expect(await room("lazy").lazy()).toBe("done");
  expect(await room("lazy").state()).toEqual([["lazy", 1]]);
});

test("a call that joins the turn which waits for it can write in it until the call ends", async () => {
  expect(await room("joins", "joining").around()).toBe(1);
  gate("joined").open();
  await until(() => "joined" in ended, "its work has ended");
  expect(ended["joined"]).toEqual({ code: "bad_request" });
  const written = (await room("joins", "joining").state()).map(([key]: [string]) => key);
  expect(written).toEqual(["after", "inner", "outer"]);
});

test("a turn of one resource gives no access to another resource's storage", async () => {
  const lookup: Lookup = await node.lookup("rooms", "other");
  expect(lookup.key).toBe("rooms/other");
  const seen: unknown[] = [];
  class Outside extends Resource {
    static first: Outside | null = null;
    override onStart(): void {
      Outside.first ??= this;
    }
    async touch(): Promise<void> {
      await Outside.first?.storage.put("x", 1).catch((error) => seen.push(error.code));
    }
  }
  const other = await createNode(defineApp({ resources: { outside: Outside } }), {
    region: "local",
    node: "two",
    store: memoryStore(),
    transport: inProcessTransport(),
  });
  await other.resource("outside", "a").touch();
  await other.resource("outside", "b").touch();
  await other.close();
  expect(seen).toEqual(["bad_request"]);
});

test("a node uses the async context that it is given", async () => {
  let runs = 0;
  const counted = await createNode(app, {
    region: "local",
    node: "three",
    store: memoryStore(),
    transport: inProcessTransport(),
    context: {
      ...systemContext,
      run: (value, run) => (runs++, systemContext.run(value, run)),
    },
  });
  await counted.resource("rooms", "a").echo("x");
  await counted.close();
  expect(runs).toBeGreaterThanOrEqual(2);
});
