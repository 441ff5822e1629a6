/** Holds every bound and default of the core and the adapters, each with its unit. */

/** The longest resource id, in bytes after percent-encoding. */
export const MAX_ID_BYTES = 256;
/** The longest region, node or type name, in bytes. */
export const MAX_TOKEN_BYTES = 64;
/** The number of hash slots that keys are spread over; each has its own epoch counter. */
export const SLOTS = 1_024;
/**
 * The number of epochs in one term of the store's lineage, from a term's first to the next term's
 * first.
 */
export const EPOCHS_PER_TERM: number = 2 ** 36;

/** The longest name of a method or function, in UTF-16 code units. */
export const MAX_METHOD = 128;
/** The number of arguments that one call of a method or function may have. */
export const MAX_ARGUMENTS = 1_024;
/** The largest encoded arguments or result of one call, in bytes. */
export const MAX_BODY_BYTES = 1_048_576;
/** The largest answer that a client reads, of a call or of a page of a listing, in bytes. */
export const MAX_ANSWER_BYTES = 16_777_216;
/** The deepest nesting of arrays, maps and sets in a value that is sent or stored, in levels. */
export const MAX_VALUE_DEPTH = 64;
/** The largest frame on a link between nodes, in bytes. */
export const MAX_FRAME_BYTES = 2_097_152;
/** The data that may wait to be sent on one link before calls over it are refused, in bytes. */
export const MAX_LINK_BUFFER_BYTES = 16_777_216;
/** The number of calls in flight on one link before further ones are refused. */
export const MAX_LINK_CALLS = 65_536;

/** The number of unsettled calls that start at one node before further ones are refused. */
export const MAX_CALLS = 262_144;
/** The number of calls that may wait at one resource. */
export const MAX_MAILBOX = 1_024;
/** The number of resources that one node may hold at once. */
export const MAX_RESOURCES = 4_000_000;
/**
 * The number of ended ownerships whose last turns a node remembers, for the store's next failover.
 */
export const MAX_FORMER_OWNERSHIPS = 50_000;
/** How long a node remembers an ended ownership while it can reach the store, in ms. */
export const FORMER_OWNERSHIPS_MS = 600_000;
/** How long a store keeps the last turn of a resource that has no fields and no owner, in ms. */
export const ENDED_TURNS_MS = 900_000;
/** The number of locations of resources owned elsewhere that one node caches. */
export const MAX_CACHED_LOCATIONS = 100_000;

/**
 * The number of calls, decayed by age, that a resource needs before it may follow its callers to
 * their region.
 */
export const FOLLOW_CALLS = 32;
/** The share of these calls that must come from one other region, from 0 to 1. */
export const FOLLOW_SHARE: number = 2 / 3;
/** The age at which a call counts half, in ms. */
export const FOLLOW_HALF_LIFE_MS = 30_000;
/** How long most calls must have come from that region before the resource follows, in ms. */
export const FOLLOW_HOLD_MS = 30_000;
/** How long a resource stays where it is after it moved or failed to move, in ms. */
export const FOLLOW_COOL_DOWN_MS = 600_000;
/** The number of resources whose callers' regions one node counts. */
export const MAX_FOLLOWED = 10_000;

/** The number of drained prefixes that one node declines at once. */
export const MAX_DECLINED = 64;
/** How long a node declines a drained prefix if the caller names no time, in ms. */
export const DEFAULT_DECLINE_MS = 60_000;
/** The longest time that a node may be asked to decline a drained prefix, in ms. */
export const MAX_DECLINE_MS = 86_400_000;

/** The number of resources on one page of a listing. */
export const MAX_PAGE = 1_000;

/** A call's deadline if its caller names none, in ms. */
export const DEFAULT_TIMEOUT_MS = 10_000;
/** A lookup's deadline if its caller names none, in ms. */
export const DEFAULT_LOOKUP_MS = 10_000;
/** How long a closing node drains if its caller names no time, in ms. */
export const DEFAULT_DRAIN_MS = 10_000;
/** The longest deadline that a caller may ask for, in ms. */
export const MAX_TIMEOUT_MS = 300_000;
/** How long a call waits for a store that can't be reached before it is refused, in ms. */
export const STORE_WAIT_MS = 1_000;
/** How long one turn may run before its instance is stopped, in ms. */
export const MAX_TURN_MS = 60_000;
/**
 * The number of links that one call may go over on its way to its owner, and of redirects before it
 * waits between attempts.
 */
export const MAX_HOPS = 3;
/** The number of gateways that one region may have. */
export const MAX_GATEWAYS = 16;
/** The number of nodes of other regions that one node remembers it could not reach directly. */
export const MAX_UNREACHABLE = 4_096;
/**
 * How long a call waits for a direct link to a node of another region before it goes over a
 * gateway, in ms.
 */
export const DIRECT_LINK_WAIT_MS = 1_000;
/**
 * How long a node of another region that owes an answer may send nothing, not even a reply to a
 * ping, before calls go over a gateway, in ms.
 */
export const SILENCE_MS = 2_000;
/** The first pause before a node or gateway that failed is tried again, in ms. */
export const ROUTE_RETRY_MS = 500;
/** The longest pause before a node or gateway that failed is tried again, in ms. */
export const MAX_ROUTE_RETRY_MS = 30_000;
/** The longest pause before a node of a region without gateways is tried again, in ms. */
export const MAX_LONE_ROUTE_RETRY_MS = 2_000;
/** The pause between two probes of a gateway in use, in ms. */
export const GATEWAY_PROBE_MS = 5_000;
/** How long a gateway may take to answer a probe, in ms. */
export const GATEWAY_PROBE_TIMEOUT_MS = 2_000;
/** How long after its last use a region's gateways are still probed, in ms. */
export const GATEWAY_IDLE_MS = 60_000;
/** How long a drained node waits until its peers have received its goodbye, in ms. */
export const GOODBYE_WAIT_MS = 2_000;
/** The number of turns that one chain of nested calls may consist of. */
export const MAX_CHAIN = 32;

/** The number of ownerships that one node looks up at once to find greater claims. */
export const RECHECKS_AT_ONCE = 32;

/**
 * The number of turns that one resource keeps while the store can't be reached, before further ones
 * are refused.
 */
export const MAX_OFFLINE_TURNS = 1_024;
/**
 * The size of all such turns that one node keeps before further ones are refused, in UTF-16 code
 * units.
 */
export const MAX_OFFLINE_CHARACTERS = 67_108_864;
/** How long a lookup at the losing node reports that a name was contested, in ms. */
export const CONTESTED_MS = 60_000;
/** The number of contested names that one node remembers. */
export const MAX_CONTESTED = 10_000;

/** How long an unused resource stays in memory if its type names no time, in ms. */
export const DEFAULT_IDLE_MS = 60_000;

/** The longest storage key, in bytes of UTF-8. */
export const MAX_STORAGE_KEY_BYTES = 512;
/** The largest stored value, in UTF-16 code units of its text. */
export const MAX_STORAGE_VALUE = 1_048_576;
/** The number of writes that one turn may make. */
export const MAX_TURN_WRITES = 4_096;
/** The size of all writes of one turn, in UTF-16 code units. */
export const MAX_TURN_CHARACTERS = 8_388_608;
/** The number of entries that one `storage.list` returns, also if its caller names no limit. */
export const MAX_LIST = 10_000;

/** The longest idempotency key, in bytes of UTF-8. */
export const MAX_IDEMPOTENCY_KEY_BYTES = 256;
/** How long the answer of an idempotency key is kept at least, in ms of the owner's wall clock. */
export const IDEMPOTENCY_MS = 600_000;
/** How long an expired answer may stay, so that several are removed at once, in ms. */
export const PRUNE_DELAY_MS = 60_000;
/**
 * The number of answers kept for one resource's idempotency keys; further ones are refused as
 * `overloaded`.
 */
export const MAX_IDEMPOTENCY_RECORDS = 1_000_000;

/**
 * The number of answered idempotency keys that a node remembers for one resource that operates
 * without the store; beyond it, calls with a key are refused while the store can't be reached.
 */
export const MAX_KNOWN_ANSWERS = 100_000;

/**
 * The number of dead members that the store's membership keeps, to recognise their late messages.
 */
export const MAX_DEAD_MEMBERS = 64;
/** The longest incarnation in a member's row, in UTF-16 code units. */
export const MAX_INCARNATION = 128;
/** The longest address in a member's row, in UTF-16 code units. */
export const MAX_ADDRESS = 1_024;
/** The number of types that a member's row may name. */
export const MAX_MEMBER_TYPES = 4_096;
/** The number of roles that a member's row may name. */
export const MAX_MEMBER_ROLES = 64;
/** The longest text of a member's row that is fetched, in bytes of UTF-8. */
export const MAX_MEMBER_BYTES = 524_288;
/** The longest text of an ownership's entry, in UTF-16 code units. */
export const MAX_ENTRY = 4_096;
/** The number of unreadable entries and rows of the store that one process logs, each once. */
export const MAX_LOGGED_ROWS = 1_000;
/** The number of members whose heartbeats one node monitors. */
export const WATCHED_MEMBERS = 10;

/** The number of functions that one module may export. */
export const MAX_EXPORTS = 256;
/** The longest version or range of versions, in UTF-16 code units. */
export const MAX_VERSION = 256;
/** The number of requests that one listener or buyer may have running at once. */
export const MAX_CAPACITY = 65_536;
/**
 * The number of calls of one module proxy that may wait for credit before further ones are refused.
 */
export const MAX_WAITING = 65_536;
/** The number of listeners, and of buyers, that one node may have. */
export const MAX_TRADERS = 10_000;
/**
 * The capacity that one node's requests for one module and range ask for at most, in requests at
 * once.
 */
export const MAX_REQUEST_CAPACITY = 1_024;
/** The pause between two checks for capacity that requests don't need any more, in ms. */
export const REQUEST_REVIEW_MS = 250;
/** The number of modules for which one node keeps metrics by name. */
export const MAX_METERS = 256;
/** The number of purchases that one node keeps for clients at once. */
export const MAX_PURCHASES = 4_096;
/** How long a client's purchase stays without a call or a look-up before it ends, in ms. */
export const PURCHASE_IDLE_MS = 60_000;
/** How long a client waits for capacity before callers that hold more return some, in ms. */
export const PURCHASE_WAIT_MS = 1_000;
/**
 * How long a client's purchase lasts at least before it ends in favour of another caller, in ms.
 */
export const PURCHASE_STAND_MS = 5_000;
/**
 * The pause between two checks whether others want capacity that a node's clients don't use, in ms.
 */
export const PURCHASE_ASK_MS = 10_000;
/** The number of modules that one such check asks about. */
export const MAX_PURCHASE_ASKS = 16;
/** The number of orders that one broker passes on, and that one exchange keeps. */
export const MAX_ORDERS = 65_536;
/** The number of module names for which one authority keeps exchanges. */
export const MAX_MODULES = 16_384;
/**
 * The number of authorities, of brokers, and of exchanges of one module that one process keeps
 * track of.
 */
export const MAX_PEERS = 10_000;
/** The number of nodes whose addresses one node remembers from other nodes' messages. */
export const MAX_CONTACTS = 20_000;
/** The number of messages that wait for one link to open before all of them are dropped. */
export const MAX_OUTBOX = 8_192;
/** How long `discover` waits for a seller if its caller names no time, in ms. */
export const DEFAULT_DISCOVER_MS = 10_000;
/** The pause between two resolutions of the authorities' names, in ms. */
export const BOOTSTRAP_MS = 10_000;
/** The shortest pause between two attempts while no authority is known, in ms. */
export const BOOTSTRAP_SOON_MS = 1_000;
/** The number of former authorities whose addresses one node remembers. */
export const MAX_REMEMBERED = 64;
/**
 * The first and the longest pause between two attempts to reach an authority that was lost, in ms.
 */
export const SEEK_MS = [1_000, 15_000] as const;
/**
 * The first and the longest pause before a process of the module market that failed is restarted,
 * in ms.
 */
export const RESTART_MS = [100, 10_000] as const;
/** How long a process must run without failure before its failures are forgotten, in ms. */
export const RESTART_CALM_MS = 60_000;
/** The number of contenders that one race may have. */
export const MAX_CONTENDERS = 16;
/** The number of trials of each rule that one race may have. */
export const MAX_TRIALS = 10_000;
/** The longest time that one race may take, in ms. */
export const MAX_RACE_MS = 600_000;
/** The longest stall of a contender, in ms. */
export const MAX_STALL_MS = 10_000;

/**
 * The largest event that a resource sends to its connections, in bytes; it fits into one answer.
 */
export const MAX_EVENT_BYTES: number = MAX_BODY_BYTES - 8_192;
/**
 * The number of events that one turn may send, and that one resource keeps for connections that
 * come back.
 */
export const MAX_REPLAY_EVENTS = 1_024;
/** The size of the events of one turn, and of those that one resource keeps, in bytes. */
export const MAX_REPLAY_BYTES = 4_194_304;
/**
 * The size of the last events that a resource keeps in its state when it stops normally, in bytes.
 */
export const MAX_TAIL_BYTES = 65_536;
/** The number of event numbers that an owner reserves at once in its resource's state. */
export const EVENT_BLOCK = 1_000;
/** The number of connections that one resource may have. */
export const MAX_CONNECTIONS = 65_536;
/** How long an owner holds a subscriber's poll while there are no events, in ms. */
export const POLL_MS = 20_000;
/** How long a subscriber may send no poll before its connections count as gone, in ms. */
export const SUBSCRIBER_TIMEOUT_MS: number = 3 * POLL_MS;
/** The pause between two sweeps for subscribers that are gone, in ms. */
export const SUBSCRIBER_SWEEP_MS = 2_000;
/** How long a resource that stops waits until its subscribers have its last events, in ms. */
export const SETTLE_EVENTS_MS = 1_000;

/** The number of client sockets that one node may have open. */
export const MAX_SOCKETS = 32_768;
/** The number of sockets that one request joins to their resource. */
export const MAX_JOINS = 64;
/**
 * The data that may wait to be sent on one client socket before it is closed as too slow, in bytes.
 */
export const MAX_SOCKET_BUFFER_BYTES = 4_194_304;
/** The number of calls that one client socket may have in flight. */
export const MAX_SOCKET_CALLS = 64;
/** The number of messages of one client socket that may wait for delivery. */
export const MAX_SOCKET_MESSAGES = 256;
/**
 * How long frames of client sockets are handled on Bun before its event loop continues, in ms;
 * later frames are held, up to `MAX_SOCKET_BUFFER_BYTES` of one socket.
 */
export const FRAMES_TURN_MS = 20;
/** The size of all frames that are held this way, of all sockets, in bytes. */
export const MAX_HELD_BYTES = 67_108_864;
/**
 * How long a client socket may send nothing, not even a reply to a ping, before it is closed, in
 * ms.
 */
export const SOCKET_IDLE_MS = 60_000;
/** How long a node sends no other frame to a client socket before it sends `ping`, in ms. */
export const SOCKET_PING_MS = 15_000;
/** How long a client of ours receives no frame before it connects to the next URL, in ms. */
export const SOCKET_SILENCE_MS = 30_000;
/**
 * How long a draining node reads from sockets that it asked to leave before it closes them, in ms.
 */
export const SOCKET_LEAVE_MS = 2_000;
/** How long messages of a closed socket may wait for delivery, in ms. */
export const CLOSED_SOCKET_MS = 60_000;
/** The size of all such messages at one node, in bytes. */
export const MAX_CLOSED_SOCKET_BYTES = 67_108_864;

/** The size of one HTTP request's line and headers, in bytes. */
export const MAX_HEAD_BYTES = 16_384;
/** How long a new connection may take to send its first request's line and headers, in ms. */
export const HEAD_MS = 60_000;
/**
 * How long a connection may be idle after a request, in ms: longer than the usual load balancers
 * keep theirs. Bun's server allows at most 255 s.
 */
export const KEEP_ALIVE_MS = 620_000;
/** How long a client may read nothing of an answer before its connection is closed, in ms. */
export const ANSWER_IDLE_MS = 60_000;
/** The number of requests that may wait on one connection behind the one in progress. */
export const MAX_PIPELINED = 16;
/** The number of requests read ahead on one connection beyond which it is closed. */
export const MAX_SENT_AHEAD = 256;
/**
 * The number of requests that begin on Bun in one turn of its event loop; twice as many at first.
 */
export const MAX_BEGUN_AT_ONCE = 64;
/** How long a request may take to arrive whole, whatever deadline it names, in ms. */
export const MAX_REQUEST_MS: number = MAX_TIMEOUT_MS + 10_000;
/**
 * The number of file descriptors that a node keeps for its links, store and files; clients get none
 * of them.
 */
export const RESERVED_DESCRIPTORS = 64;
/** The pause between two probes of a node's own listener, in ms. */
export const LISTENER_PROBE_MS = 5_000;
/** How long the listener may take to answer a probe, in ms. */
export const LISTENER_PROBE_TIMEOUT_MS = 2_000;
/** The pause before a listener that didn't answer is probed again, in ms. */
export const LISTENER_SOON_MS = 1_000;
/**
 * The number of failed probes in a row after which the node opens its listener again, each time.
 */
export const LISTENER_FAILURES = 3;
/** The number of failed probes in a row, about 2 minutes, after which the node drains and stops. */
export const LISTENER_LOST = 42;
