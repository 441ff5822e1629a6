/**
 * Serves an app on the running runtime.
 *
 * Takes an app and settings; opens the port, the store and the links, registers, and gives a node
 * that answers HTTP. If a step fails, all that was opened before is closed.
 *
 * @example
 * ```ts
 * const node = await serve(app, { registry: "redis://127.0.0.1:6379", port: 8080 });
 * console.log(node.url);
 * await node.close();
 * ```
 */
import process from "node:process";
import { type App, resolveTypes } from "../../src/api/app.ts";
import type { AtlasNode, NodeEvent } from "../../src/api/node.ts";
import { AtlasError, type ErrorCode, isAtlasError, messageOf } from "../../src/errors.ts";
import { MAX_FRAME_BYTES } from "../../src/limits.ts";
import { checkOptions, type OptionNames, wrong } from "../../src/model/options.ts";
import { createNode } from "../../src/node/node.ts";
import type {
  HeaderReader,
  PlainRequest,
  RequestOrigin,
  Runtime,
  Server,
  Upgrade,
} from "../../src/ports/runtime.ts";
import { appFile, loadApp } from "../app_loader/load_app.ts";
import { watchApp } from "../app_loader/watch_app.ts";
import { accessWarnings, linkRefusal, refusesLinks, withoutLinks } from "../config/access.ts";
import { bootstrapOf } from "../config/bootstrap.ts";
import {
  type CheckedSettings,
  readAppPath,
  readLogLevel,
  readSettings,
  type Settings,
} from "../config/environment.ts";
import { defaultNodeName, urlOf } from "../config/hosts.ts";
import { homesOf, namingRegistry, placedHomes } from "../config/registry_setting.ts";
import { createHttpApp, type HttpApp } from "../http/app.ts";
import { refusalOf } from "../http/origin_rules.ts";
import { SOCKET_PATH } from "../http/sockets.ts";
import { faultOfHost, rawPath } from "../http_wire/inputs.ts";
import { detectRuntime } from "../platform/detect.ts";
import { settingAtFault } from "../platform/serve_failure.ts";
import { openStore } from "../store/open/open.ts";
import type { HomeRules } from "../store/regional/homes.ts";
import { systemContext } from "../system/async_context.ts";
import { systemClock, systemRandom } from "../system/clock.ts";
import { LINK_PATH, type WebSocketTransport, websocketTransport } from "../transport/websocket.ts";
import { probeListener } from "./listener_probe.ts";
import { eventLog } from "./logging.ts";
import { type ServedNode, servedNode } from "./served_node.ts";

export type { ServedNode } from "./served_node.ts";
export type { BootstrapSetting } from "../config/bootstrap.ts";
export type { Settings } from "../config/environment.ts";

export interface ServeOptions extends Settings {
  /**
   * Gets log events. Default: LogTape's logger `atlas`, or, if the program has not configured
   * LogTape, standard error, from the level `ATLAS_LOG` on. MUST NOT throw.
   */
  onEvent?: (event: NodeEvent) => void;
  /**
   * For a registry by region: the homes of keys. They MUST be the same on every node and never
   * change. Types that are placed in a region have their home there, unless `types` or `rule` say
   * otherwise.
   */
  homes?: HomeRules;
}

const NAMES: OptionNames<ServeOptions> = {
  region: true,
  node: true,
  registry: true,
  registryToken: true,
  host: true,
  port: true,
  publicUrl: true,
  secret: true,
  token: true,
  lease: true,
  role: true,
  bootstrap: true,
  watch: true,
  gateways: true,
  origins: true,
  addresses: true,
  onEvent: true,
  homes: true,
};

/**
 * A node with an HTTP API. A setting that `options` leave out comes from the environment; one that
 * the environment leaves out has the documented default. Without `app` it serves the example of
 * channels and sessions. Installs no process handlers.
 *
 * @throws AtlasError `bad_request` if a setting isn't allowed, `unavailable` if the port or the
 * registry is unavailable (each naming the variable), `node_name_taken` if another live process has
 * the node's name.
 */
export async function serve<A extends App = App>(
  app?: A,
  options: ServeOptions = {},
): Promise<ServedNode<A>> {
  const checked = readSettings(process.env, checkServeOptions(options));
  const settings = { ...checked, homes: homesOf(checked.registry, options.homes) };
  const place: { region: string; node?: string } = { region: settings.region };
  const onEvent = options.onEvent ?? eventLog(readLogLevel(process.env), () => place);
  const watched = watchedFile(settings, app !== undefined);
  const running = (app ?? await loadApp(undefined)) as A;
  resolveTypes(running);
  const homes = placedHomes(running, settings.registry, settings.homes);
  const runtime = await detectRuntime();
  const opened: (() => Promise<void>)[] = [];
  try {
    return await open(
      running,
      { ...settings, homes },
      watched,
      runtime,
      onEvent,
      opened,
      place,
      options,
    );
  } catch (error) {
    for (const close of opened.reverse()) await close().catch(() => {});
    throw error;
  }
}

/** @throws AtlasError `bad_request` */
function checkServeOptions(options: ServeOptions): ServeOptions {
  const { onEvent } = checkOptions(options, NAMES);
  if (onEvent === undefined || typeof onEvent === "function") return options;
  throw wrong("onEvent", onEvent, "a function");
}

async function open<A extends App>(
  app: A,
  settings: CheckedSettings & Pick<ServeOptions, "homes">,
  watched: string | null,
  runtime: Runtime,
  onEvent: (event: NodeEvent) => void,
  opened: (() => Promise<void>)[],
  place: { node?: string },
  given: ServeOptions,
): Promise<ServedNode<A>> {
  let node: AtlasNode<A> | null = null;
  const http = createHttpApp({
    node: () => node as AtlasNode | null,
    token: settings.token,
    origins: settings.origins,
    onEvent,
  });
  const { addresses } = settings;
  const transport = websocketTransport({ runtime, secret: secretOf(settings), addresses, onEvent });
  let known = settings.publicUrl;
  const server = await bind(settings, runtime, http, transport, () => known, given);
  opened.push(() => server.close());
  place.node = settings.node ?? defaultNodeName(server.port, settings.machine);
  const url = known = settings.publicUrl ?? urlOf(settings.host, server.port);
  transport.address = url;
  // Peers may also dial the address that it listens on. Not with https: a registry could make peers
  // dial that address without TLS.
  if (!url.startsWith("https:")) transport.reachedAt(urlOf(settings.host, server.port));
  accessWarnings(settings, url).forEach(onEvent);
  const nameOfRegistry = given.registry === undefined ? "ATLAS_REGISTRY_URL" : "registry";
  const { registryToken: token, region, homes } = settings;
  const open = () =>
    openStore(settings.registry, { token, region, ...homes && { homes }, onEvent });
  const store = await registry(settings, nameOfRegistry, [], open);
  opened.push(() => store.close());
  node = await registry(
    settings,
    nameOfRegistry,
    ["node_name_taken", "bad_request", "invalid_rrp"],
    () =>
      createNode(app, {
        region: settings.region,
        node: place.node as string,
        store,
        transport: refusesLinks(settings) ? withoutLinks(transport) : transport,
        clock: systemClock,
        context: systemContext,
        random: systemRandom,
        lease: settings.lease,
        role: settings.role,
        bootstrap: settings.bootstrap && bootstrapOf(settings.bootstrap, url),
        gateways: settings.gateways,
        onEvent,
      }) as Promise<AtlasNode<A>>,
  );
  const { close, closed } = node;
  opened.push(() => close({ drainMs: 0 }));
  if (watched !== null) {
    const watch = watchApp({ node: node as AtlasNode, app, file: watched, onEvent });
    void closed.then(() => watch.stop());
  }
  const { lost, stop } = watchListener(server, settings.host, onEvent);
  return servedNode(node, {
    url,
    http,
    closeServer: async () => {
      stop();
      await server.close();
    },
    closeStore: () => store.close(),
    lost,
  });
}

/** Probes the listener until it is stopped; `lost` resolves if it accepts no more connections. */
function watchListener(
  server: Server,
  host: string,
  onEvent: (event: NodeEvent) => void,
): { readonly lost: Promise<AtlasError>; stop(): void } {
  let stop = () => {};
  const lost = new Promise<AtlasError>((resolve) => {
    const onLost = (why: string) =>
      resolve(new AtlasError("unavailable", `the node stops: ${why}`, { retryable: false }));
    const probe = probeListener({ server, host, onEvent, onLost });
    stop = () => probe.stop();
  });
  return { lost, stop };
}

/** The file that is watched for changes; null: none. */
function watchedFile({ watch }: CheckedSettings, isGiven: boolean): string | null {
  if (watch === false) return null;
  const path = typeof watch === "string" ? watch : isGiven ? readAppPath(process.env) : undefined;
  if (path === undefined && isGiven) {
    throw new AtlasError(
      "bad_request",
      "ATLAS_WATCH is 1: this program gives the app itself, so say which file it is in: " +
        "serve(app, { watch: <path> })",
    );
  }
  return appFile(typeof watch === "string" ? "watch" : "ATLAS_APP", path);
}

/** The secret as the transport takes it: none, one, or the present and the former secret. */
function secretOf({ secrets: [current, previous] }: CheckedSettings) {
  if (current === undefined) return undefined;
  return previous === undefined ? current : [current, previous] as const;
}

/** Listens before anything else, because the number of a free port is needed. */
async function bind(
  settings: CheckedSettings,
  runtime: Runtime,
  http: HttpApp,
  transport: WebSocketTransport,
  url: () => string | undefined,
  given: ServeOptions,
): Promise<Server> {
  const { host, port, origins } = settings;
  const hasToken = settings.token !== undefined;
  const hasSecret = settings.secrets.length > 0;
  const refusal = (path: string, headers: HeaderReader) =>
    faultOfHost(headers) ?? refusalOf(path, headers, { origins, url: url(), hasToken, hasSecret });
  // A refused request goes to `fetch`, which answers why.
  const answer = (request: PlainRequest) => {
    const path = rawPath(request);
    return refusal(path, request.headers) ? null : http.answer(request, path);
  };
  const fetch = (request: Request, upgrade: Upgrade, from?: RequestOrigin) => {
    const path = rawPath(request);
    const refused = refusal(path, request.headers);
    if (refused) return http.refuse(request, refused);
    const wantsSocket = request.method === "GET" &&
      request.headers.get("upgrade")?.toLowerCase() === "websocket";
    if (wantsSocket && path === LINK_PATH) {
      if (refusesLinks(settings)) return http.refuse(request, linkRefusal());
      return upgrade(transport.accept());
    }
    if (wantsSocket && path.startsWith(SOCKET_PATH)) return http.connect(request, upgrade);
    return http.fetch(request, from);
  };
  try {
    return await runtime.serve({ host, port, maxFrameBytes: MAX_FRAME_BYTES, answer, fetch });
  } catch (cause) {
    const message = `${bindSettings(cause, settings, given)}: ${messageOf(cause)}`;
    throw new AtlasError("unavailable", message, { retryable: false, cause });
  }
}

/** The wrong setting, by the name under which it was given, and its value. */
function bindSettings(
  failure: unknown,
  { host, port }: CheckedSettings,
  given: ServeOptions,
): string {
  const ofPort = `${given.port === undefined ? "PORT" : "port"} is ${port}`;
  const ofHost = `${given.host === undefined ? "ATLAS_HOST" : "host"} is ${host}`;
  const atFault = settingAtFault(failure);
  if (atFault !== null) return atFault === "port" ? ofPort : ofHost;
  return `${ofPort} and ${ofHost}`;
}

/** Names the registry in its errors; `others` are the codes of errors that are not its fault. */
async function registry<T>(
  { registry: url, region }: CheckedSettings,
  name: string,
  others: readonly ErrorCode[],
  run: () => Promise<T>,
): Promise<T> {
  try {
    return await run();
  } catch (cause) {
    if (isAtlasError(cause) && others.includes(cause.code)) throw cause;
    throw namingRegistry(name, url, region, cause);
  }
}
