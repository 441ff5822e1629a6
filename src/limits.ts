/** Every bound and default of the core, named with its unit. */

/** Longest resource id, in bytes after percent-encoding. */
export const MAX_ID_BYTES = 256;
/** Longest region, node or type name, in bytes. */
export const MAX_TOKEN_BYTES = 64;
/** Hash slots that keys are spread over, each with an epoch counter of its own. */
export const SLOTS = 1_024;
/** Epochs of one term of the store's lineage: the step from a term's first to the next's. */
export const EPOCHS_PER_TERM: number = 2 ** 36;

/** Longest name of a method or function that is called, in UTF-16 code units. */
export const MAX_METHOD = 128;
/** Arguments that one call of a method or function may have. */
export const MAX_ARGUMENTS = 1_024;
/** Largest encoded arguments or result of one call, in bytes. */
export const MAX_BODY_BYTES = 1_048_576;
/** Largest answer that a client reads, in bytes: of a call, or a page of a listing. */
export const MAX_ANSWER_BYTES = 16_777_216;
/** Deepest nesting of arrays, maps and sets in a value that travels or is stored. */
export const MAX_VALUE_DEPTH = 64;
/** Largest frame on a node link, in bytes. */
export const MAX_FRAME_BYTES = 2_097_152;
/** Bytes that may wait to be sent on one link before calls over it are refused. */
export const MAX_LINK_BUFFER_BYTES = 16_777_216;
/** Calls in flight on one link before further ones are refused. */
export const MAX_LINK_CALLS = 65_536;

/** Unsettled calls that start at one node before further ones are refused. */
export const MAX_CALLS = 262_144;
/** Messages that may wait at one resource. */
export const MAX_MAILBOX = 1_024;
/** Resources that one node may hold at once. */
export const MAX_RESOURCES = 4_000_000;
/** Ownerships that ended here whose last turns a node remembers, for the next store failover. */
export const MAX_FORMER_OWNERSHIPS = 50_000;
/** How long it remembers them while the store can be reached, in ms. */
export const FORMER_OWNERSHIPS_MS = 600_000;
/** How long a store keeps the last turn of a state without fields that nobody owns, in ms. */
export const ENDED_TURNS_MS = 900_000;
/** Locations of resources owned elsewhere that one node remembers. */
export const MAX_CACHED_LOCATIONS = 100_000;

/** Calls, the past ones decayed, before a resource may follow its callers to their region. */
export const FOLLOW_CALLS = 32;
/** The share of them that must come from one other region. */
export const FOLLOW_SHARE: number = 2 / 3;
/** After so long a call counts half, in ms. */
export const FOLLOW_HALF_LIFE_MS = 30_000;
/** How long most calls must have come from there before the resource follows, in ms. */
export const FOLLOW_HOLD_MS = 30_000;
/** How long a resource stays where it is after it moved or failed to, in ms. */
export const FOLLOW_COOL_DOWN_MS = 600_000;
/** Resources whose callers' regions one node counts. */
export const MAX_FOLLOWED = 10_000;

/** Prefixes that one node declines at once, and how long it declines one, in ms. */
export const MAX_DECLINED = 64;
export const DEFAULT_DECLINE_MS = 60_000;
export const MAX_DECLINE_MS = 86_400_000;

/** Resources that a page of a listing holds, at most. */
export const MAX_PAGE = 1_000;

/** A call's deadline where the caller names none, in ms. */
export const DEFAULT_TIMEOUT_MS = 10_000;
/** A lookup's deadline where nobody gives one, ms. */
export const DEFAULT_LOOKUP_MS = 10_000;
/** How long what is under way may take after a close, where nobody says, ms. */
export const DEFAULT_DRAIN_MS = 10_000;
/** The longest deadline a caller may ask for, in ms. */
export const MAX_TIMEOUT_MS = 300_000;
/** How long a call waits for a store that can't be reached before it is refused, in ms. */
export const STORE_WAIT_MS = 1_000;
/** How long one turn may run before its instance is given up, in ms. */
export const MAX_TURN_MS = 60_000;
/**
 * Wrong owners that one call may be sent to before it waits between attempts, and links
 * that one call may be passed over on its way to its owner.
 */
export const MAX_HOPS = 3;
/** Gateways that one region may have. */
export const MAX_GATEWAYS = 16;
/** Nodes of other regions that one node remembers it could not reach directly. */
export const MAX_UNREACHABLE = 4_096;
/** How long a node of another region is waited for before a way around it is taken, in ms. */
export const DIRECT_LINK_WAIT_MS = 1_000;
/**
 * How long nothing comes from a node of another region that owes an answer, a sign of life
 * included, before calls take a way around it, in ms.
 */
export const SILENCE_MS = 2_000;
/** The first and the longest pause before a node or gateway that failed is tried again, in ms. */
export const ROUTE_RETRY_MS = 500;
export const MAX_ROUTE_RETRY_MS = 30_000;
/** The longest pause before a node of a region without gateways is tried again, in ms. */
export const MAX_LONE_ROUTE_RETRY_MS = 2_000;
/** How often a gateway in use is asked whether it is there, in ms. */
export const GATEWAY_PROBE_MS = 5_000;
/** How long a gateway may take to say so, in ms. */
export const GATEWAY_PROBE_TIMEOUT_MS = 2_000;
/** How long after its last use a region's gateways are still probed, in ms. */
export const GATEWAY_IDLE_MS = 60_000;
/** How long a node that has drained waits for its peers to have heard so, in ms. */
export const GOODBYE_WAIT_MS = 2_000;
/** Resources that one chain of calls may be inside of at once. */
export const MAX_CHAIN = 32;

/** Ownerships that one node looks up at once, where a greater claim may have come. */
export const RECHECKS_AT_ONCE = 32;

/** Turns that one resource keeps while the store can't be reached; a further one is refused. */
export const MAX_OFFLINE_TURNS = 1_024;
/** Characters of such turns that one node keeps, all in all, before further ones are refused. */
export const MAX_OFFLINE_CHARACTERS = 67_108_864;
/** How long a lookup at the losing node says that a name was contested, in ms. */
export const CONTESTED_MS = 60_000;
/** Contested names that one node remembers. */
export const MAX_CONTESTED = 10_000;

/** How long an unused resource stays in memory, in ms. */
export const DEFAULT_IDLE_MS = 60_000;

/** Longest storage key, in UTF-8 bytes. */
export const MAX_STORAGE_KEY_BYTES = 512;
/** Largest stored value, in UTF-16 code units of its text. */
export const MAX_STORAGE_VALUE = 1_048_576;
/** Writes that one turn may make. */
export const MAX_TURN_WRITES = 4_096;
/** Characters that all writes of one turn may take together. */
export const MAX_TURN_CHARACTERS = 8_388_608;
/** Entries that one `storage.list` answers where the caller names no limit, and at most. */
export const MAX_LIST = 10_000;

/** Longest idempotency key, in UTF-8 bytes. */
export const MAX_IDEMPOTENCY_KEY_BYTES = 256;
/** How long an idempotency key's answer is kept at least, in ms of the owner's wall clock. */
export const IDEMPOTENCY_MS = 600_000;
/** How long answers past their time may stay, in ms, so that some go at once. */
export const PRUNE_DELAY_MS = 60_000;
/** Answers kept for one resource's idempotency keys; a further one is refused as `overloaded`. */
export const MAX_IDEMPOTENCY_RECORDS = 1_000_000;

/**
 * Idempotency keys of one resource that a node remembers to have answers, where its type goes on
 * without the store. With more of them keyed calls are refused while the store can't be reached.
 */
export const MAX_KNOWN_ANSWERS = 100_000;

/** Dead members kept in the store's membership, so that late messages of theirs are recognised. */
export const MAX_DEAD_MEMBERS = 64;
/** Longest incarnation and address of a member's row, in UTF-16 code units. */
export const MAX_INCARNATION = 128;
export const MAX_ADDRESS = 1_024;
/** Types that a member's row may name, and what it may serve as. */
export const MAX_MEMBER_TYPES = 4_096;
export const MAX_MEMBER_ROLES = 64;
/** Longest text of a member's row, in bytes of UTF-8; a longer one is not fetched. */
export const MAX_MEMBER_BYTES = 524_288;
/** Longest text of an ownership's entry, in UTF-16 code units. */
export const MAX_ENTRY = 4_096;
/** Unreadable entries and rows of the store that one process logs, each once. */
export const MAX_LOGGED_ROWS = 1_000;
/** Members that one node watches for a stalled heartbeat. */
export const WATCHED_MEMBERS = 10;

/** Functions that one module may export. */
export const MAX_EXPORTS = 256;
/** Characters of a version or a range of versions. */
export const MAX_VERSION = 256;
/** Requests that one listener or buyer may have running at once. */
export const MAX_CAPACITY = 65_536;
/** Calls of one module proxy that may wait for credit before further ones are refused. */
export const MAX_WAITING = 65_536;
/** Listeners and buyers of modules that one node may have, each. */
export const MAX_TRADERS = 10_000;
/** Capacity that the requests of one node for one module and range want at most. */
export const MAX_REQUEST_CAPACITY = 1_024;
/** How often capacity that requests don't need any more is given back, in ms. */
export const REQUEST_REVIEW_MS = 250;
/** Modules that one node keeps figures of by name. */
export const MAX_METERS = 256;
/** Purchases that one node keeps for clients at once. */
export const MAX_PURCHASES = 4_096;
/** How long nobody may call over a client's purchase, or look at it, before it ends, in ms. */
export const PURCHASE_IDLE_MS = 60_000;
/** How long a client waits for capacity before callers that hold more give some back, in ms. */
export const PURCHASE_WAIT_MS = 1_000;
/** How long a client's purchase stands at least before it ends for another caller, in ms. */
export const PURCHASE_STAND_MS = 5_000;
/** How often a node asks whether others want what its clients don't use, in ms. */
export const PURCHASE_ASK_MS = 10_000;
/** Modules that it asks about each time. */
export const MAX_PURCHASE_ASKS = 16;
/** Orders that one broker passes on, and that one exchange keeps. */
export const MAX_ORDERS = 65_536;
/** Names of modules that one authority keeps exchanges of. */
export const MAX_MODULES = 16_384;
/** Authorities, brokers, and exchanges of one module, that one part keeps track of, each. */
export const MAX_PEERS = 10_000;
/** Addresses of nodes that one node remembers from what others told it. */
export const MAX_CONTACTS = 20_000;
/** Messages that wait for one link to be opened before all of them are given up. */
export const MAX_OUTBOX = 8_192;
/** How long `discover` waits for a seller where its caller names no time, in ms. */
export const DEFAULT_DISCOVER_MS = 10_000;
/** How often the names of authorities are resolved again, in ms. */
export const BOOTSTRAP_MS = 10_000;
/** The least pause between two attempts while no authority is known, in ms. */
export const BOOTSTRAP_SOON_MS = 1_000;
/** Authorities once met whose addresses one node remembers. */
export const MAX_REMEMBERED = 64;
/** The pause between two attempts to reach one of them that was lost, in ms: from, to. */
export const SEEK_MS = [1_000, 15_000] as const;
/** The pause before a part of the module market that failed again is started again, in ms: from, to. */
export const RESTART_MS = [100, 10_000] as const;
/** How long a part must go well before its failures are forgotten, in ms. */
export const RESTART_CALM_MS = 60_000;
/** Contenders that one race may have. */
export const MAX_CONTENDERS = 16;
/** Trials of each rule that one race may have. */
export const MAX_TRIALS = 10_000;
/** Longest time that one race may be given, in ms. */
export const MAX_RACE_MS = 600_000;
/** Longest stall that contenders may be given, in ms. */
export const MAX_STALL_MS = 10_000;

/** Largest event that a resource sends to its connections, in bytes: an answer holds it. */
export const MAX_EVENT_BYTES: number = MAX_BODY_BYTES - 8_192;
/** Events that one turn may send, and that one resource keeps for who comes back. */
export const MAX_REPLAY_EVENTS = 1_024;
/** Bytes of such events, of one turn and of one resource. */
export const MAX_REPLAY_BYTES = 4_194_304;
/** Bytes of the last events that a resource keeps in its state when it stops in good order. */
export const MAX_TAIL_BYTES = 65_536;
/** Numbers of events that an owner reserves at once in its resource's state. */
export const EVENT_BLOCK = 1_000;
/** Connections that one resource may have. */
export const MAX_CONNECTIONS = 65_536;
/** How long an owner holds a subscriber's poll for events while there are none, in ms. */
export const POLL_MS = 20_000;
/** After so long without a poll of its subscriber a connection counts as gone, in ms. */
export const SUBSCRIBER_TIMEOUT_MS: number = 3 * POLL_MS;
/** How often owners look for subscribers that have gone, in ms. */
export const SUBSCRIBER_SWEEP_MS = 2_000;
/** How long a resource on its way out waits for subscribers to have its last events, in ms. */
export const SETTLE_EVENTS_MS = 1_000;

/** Client sockets that one node may have open. */
export const MAX_SOCKETS = 32_768;
/** Sockets that one step joins to their resource. */
export const MAX_JOINS = 64;
/** Bytes that may wait to be sent on one client socket before it is cut as too slow. */
export const MAX_SOCKET_BUFFER_BYTES = 4_194_304;
/** Calls that one client socket may have under way, and messages that may wait of it. */
export const MAX_SOCKET_CALLS = 64;
export const MAX_SOCKET_MESSAGES = 256;
/**
 * How long frames of client sockets are handled on Bun before its event loop goes on, in ms. Those
 * that come after it are held, at most MAX_SOCKET_BUFFER_BYTES of one socket and so many of all.
 */
export const FRAMES_TURN_MS = 20;
export const MAX_HELD_BYTES = 67_108_864;
/** After so long without a sign of life a client socket is cut, in ms; it is pinged before. */
export const SOCKET_IDLE_MS = 60_000;
/** After so long without any other frame a node says `ping` to a client socket, in ms. */
export const SOCKET_PING_MS = 15_000;
/** After so long without any frame our client leaves a connection for the next URL, in ms. */
export const SOCKET_SILENCE_MS = 30_000;
/** How long a draining node reads from sockets that it told to leave, before it closes them, in ms. */
export const SOCKET_LEAVE_MS = 2_000;
/** How long messages of a closed socket may wait to be heard, in ms; and bytes of all such of a node. */
export const CLOSED_SOCKET_MS = 60_000;
export const MAX_CLOSED_SOCKET_BYTES = 67_108_864;

/** Bytes of one request's line and headers. */
export const MAX_HEAD_BYTES = 16_384;
/** How long a new connection may take until its first request's head is whole, in ms. */
export const HEAD_MS = 60_000;
/**
 * How long a connection may be idle after a served request, in ms: longer than the usual load
 * balancers keep theirs. Bun's server allows no more than 255 s.
 */
export const KEEP_ALIVE_MS = 620_000;
/** How long a client may take nothing of an answer before its connection is cut, in ms. */
export const ANSWER_IDLE_MS = 60_000;
/** Requests that may wait on one connection behind the one that is served. */
export const MAX_PIPELINED = 16;
/** Requests read ahead of one connection beyond which it is closed. */
export const MAX_SENT_AHEAD = 256;
/** Requests that begin on Bun before the event loop goes on; where it wasn't asked, twice as many. */
export const MAX_BEGUN_AT_ONCE = 64;
/** How long a request may take to arrive whole, whatever deadline it names, in ms. */
export const MAX_REQUEST_MS: number = MAX_TIMEOUT_MS + 10_000;
/** Descriptors that a node keeps for its links, its store and files: no client gets them. */
export const RESERVED_DESCRIPTORS = 64;
/** How often a node dials its own listener, in ms. */
export const LISTENER_PROBE_MS = 5_000;
/** How long the listener may take to answer, in ms; where it doesn't, it is dialled again soon. */
export const LISTENER_PROBE_TIMEOUT_MS = 2_000;
export const LISTENER_SOON_MS = 1_000;
/** Probes in a row that fail before the node listens anew, and again after as many more. */
export const LISTENER_FAILURES = 3;
/** Probes in a row that fail, some 2 minutes, before the node hands over and stops. */
export const LISTENER_LOST = 42;
