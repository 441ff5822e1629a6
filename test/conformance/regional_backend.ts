/**
 * Regional stores for the store suite: one with a single region, and one whose keys are spread over
 * three.
 *
 * Takes the backends of the regions; gives a backend that takes each step through the handle of the
 * key's home region, as nodes do.
 */
import { regionalStore, spreadOver } from "../../adapters/store/regional/store.ts";
import type { CommittedTurn, LineageName, Stamp, Store } from "../../src/ports/store.ts";
import type { HostileWriter, StoreBackend } from "./store.ts";

/** A backend for each of the named regions. */
export async function regionalBackend(
  regions: readonly string[],
  make: () => Promise<StoreBackend>,
): Promise<StoreBackend> {
  const backends = await Promise.all(regions.map(make));
  const all = (step: (backend: StoreBackend) => Promise<unknown>): Promise<void> =>
    Promise.all(backends.map(step)).then(() => {});
  const writers = backends.map(({ writer }) => writer);
  return {
    open: () => openSpread(regions, backends),
    crash: backends[0]?.crash && (() => all((backend) => (backend.crash as () => Promise<void>)())),
    // Membership is in the first region, keys are in all of them: the writer writes to each.
    ...writers.every((it) => it !== undefined) &&
      { writer: everywhere(writers as HostileWriter[]) },
    isParted: regions.length > 1,
    dispose: () => all((backend) => backend.dispose()),
  };
}

/** All writers as one, which writes to every region. */
function everywhere(writers: readonly HostileWriter[]): HostileWriter {
  const [first] = writers as [HostileWriter];
  const all = (step: (writer: HostileWriter) => Promise<void>): Promise<void> =>
    Promise.all(writers.map(step)).then(() => {});
  return {
    member: (row) => first.member(row),
    seq: (incarnation, seq) => first.seq(incarnation, seq),
    corruptMember: (incarnation) => first.corruptMember(incarnation),
    version: (text) => first.version(text),
    owner: (key, epoch, rrp) => all((it) => it.owner(key, epoch, rrp)),
    turn: (key, epoch, turn) => all((it) => it.turn(key, epoch, turn)),
    counter: (key, text) => all((it) => it.counter(key, text)),
  };
}

async function openSpread(
  regions: readonly string[],
  backends: readonly StoreBackend[],
): Promise<Store> {
  const handles = new Map<string, Store>();
  for (const self of regions) {
    const stores = regions.map((region, i) => [region, opener(backends[i] as StoreBackend)]);
    const homes = { default: regions[0] as string, rule: spreadOver(regions) };
    handles.set(self, await regionalStore({ self, stores: Object.fromEntries(stores), homes }));
  }
  return spread(handles);
}

/** All handles share one memory store: closing one of them must leave it open. */
function opener(backend: StoreBackend): () => Promise<Store> {
  return async () => {
    const store = await backend.open();
    if (store !== await backend.open()) return store;
    return new Proxy(store, {
      get: (it, name) => {
        if (name === "close") return () => Promise.resolve();
        const value = Reflect.get(it, name);
        return typeof value === "function" ? value.bind(it) : value;
      },
    });
  };
}

/** All handles as one store: each step goes to the handle of its key's home region. */
function spread(handles: ReadonlyMap<string, Store>): Store {
  const [first] = [...handles.values()] as [Store];
  const of = (key: string): Store => handles.get(first.homeOf?.(key) ?? "") ?? first;
  return {
    status: () => first.status(),
    register: (member, options) => first.register(member, options),
    renew: (incarnation, seq, watch, known) => first.renew(incarnation, seq, watch, known),
    kill: (incarnation, seq) => first.kill(incarnation, seq),
    leave: (member) => first.leave(member),
    members: () => first.members(),
    lookup: (key) => first.lookup(key),
    claim: (claim) => of(claim.key).claim(claim),
    reassert: async (reassertions, lineage) => {
      const standings = await Promise.all(
        reassertions.map((reassertion) => of(reassertion.key).reassert([reassertion], lineage)),
      );
      if (standings.includes(null)) return null;
      return standings.flatMap((standing) => standing ?? []);
    },
    ...first.kept && { kept: (turns, lineage) => keptBy(of, turns, lineage) },
    release: (key, incarnation, epoch) => of(key).release(key, incarnation, epoch),
    list: (prefix, cursor, limit) => first.list(prefix, cursor, limit),
    read: (key, fields) => of(key).read(key, fields),
    range: (key, range) => of(key).range(key, range),
    commit: (commit) => of(commit.key).commit(commit),
    close: async () => void await Promise.all([...handles.values()].map((it) => it.close())),
  };
}

async function keptBy(
  of: (key: string) => Store,
  turns: readonly CommittedTurn[],
  lineage: LineageName,
): Promise<readonly Stamp[] | null> {
  const kept = await Promise.all(
    turns.map((turn) => of(turn.key).kept?.([turn], lineage) ?? [turn.last]),
  );
  return kept.includes(null) ? null : kept.flatMap((stamps) => stamps ?? []);
}
