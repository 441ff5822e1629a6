/**
 * The Lua that runs inside Redis: the notary's own hands. Each script is one atomic
 * step, or one tick's worth of them.
 *
 * They take keys and text, and give lists of integers and text. Every key of one
 * resource shares its slot's hash tag, and every script touches either one tag only
 * or, where Redis is no cluster, all that one tick asked for.
 *
 * Baseline Redis 6.2. No script reads the server's clock, and no key expires: safety
 * rests on compare-and-set alone (design §3).
 */

/**
 * Steps on resources, as many as one tick asked for, each with its own reply.
 *
 * An ownership is the text `<epoch> <incarnation> <opId> <rrp>`. State is a hash of
 * `:<field>` → value with the last turn in the field `turn`, and a sorted set of the
 * same `:<field>` members, all at score 0, so in bytewise order. A guard is the
 * beginning of an ownership, `<epoch> <incarnation> `.
 *
 * | step | keys | arguments | reply |
 * |---|---|---|---|
 * | L look up | own | | the entry that stands, or nil |
 * | C claim | own, epoch | `<incarnation> <opId> <rrp>`, guard or "", the epoch to be above | epoch won, else the entry that stands, or nil |
 * | R release | own | guard | 1, 0, or another's entry |
 * | W commit | own, state, index | count, guard, turn, puts, field, value …, field to delete … | 1, 0, or another's entry |
 * | G read | state | count, field … | values |
 * | N range | state, index | command, bound, bound, limit | field, value … |
 *
 * Every step may come twice, and late: clients repeat, and so do networks. A claim that
 * comes again finds its own entry by `opId`, a commit its turn, a release nothing. What
 * a release has ended, a late copy of its claim may win anew, under a higher epoch: an
 * entry whose claimer never heard of it, as any whose answer got lost.
 *
 * A step that fails answers text that starts with `!`, and spoils no other. Before a
 * commit writes anything it has touched every key that it will write, so that a key
 * of a wrong type fails it whole. `unpack` is limited to about 8,000 values.
 */
export const STEPS = `
local CHUNK = 4000
local call, sub, match = redis.call, string.sub, string.match

local function lookup(k)
  return call('GET', KEYS[k])
end

local function claim(k, a)
  local own, rest, guard = KEYS[k], ARGV[a + 1], ARGV[a + 2]
  local now = call('GET', own)
  if now then
    if sub(now, -#rest - 1) == ' ' .. rest then return tonumber(match(now, '^%d+')) or now end
    if guard == '' or sub(now, 1, #guard) ~= guard then return now end
  elseif guard ~= '' then
    return false
  end
  local epoch, above = call('INCR', KEYS[k + 1]), tonumber(ARGV[a + 3])
  if epoch <= above then
    epoch = call('INCRBY', KEYS[k + 1], string.format('%.0f', above + 1 - epoch))
  end
  call('SET', own, string.format('%.0f', epoch) .. ' ' .. rest)
  return epoch
end

local function release(k, a)
  local now = call('GET', KEYS[k])
  if not now then return 0 end
  local guard = ARGV[a + 1]
  if sub(now, 1, #guard) ~= guard then return now end
  return call('DEL', KEYS[k])
end

local function remove(state, index, first, last)
  for i = first, last, CHUNK do
    local j = math.min(i + CHUNK - 1, last)
    if call('HDEL', state, unpack(ARGV, i, j)) > 0 then call('ZREM', index, unpack(ARGV, i, j)) end
  end
end

local function put(state, index, stamp, fresh, first, last)
  if last < first then call('HSET', state, 'turn', stamp) end
  for i = first, last, CHUNK do
    local j = math.min(i + CHUNK - 1, last)
    if call('HSET', state, 'turn', stamp, unpack(ARGV, i, j)) > fresh then
      local members = {}
      for f = i, j, 2 do
        members[f - i + 1] = '0'
        members[f - i + 2] = ARGV[f]
      end
      call('ZADD', index, unpack(members))
    end
    fresh = 0
  end
end

local function commit(k, a)
  local state, index, guard, turn = KEYS[k + 1], KEYS[k + 2], ARGV[a + 2], ARGV[a + 3]
  local now = call('GET', KEYS[k])
  if not now then return 0 end
  if sub(now, 1, #guard) ~= guard then return now end
  local epoch = match(guard, '^%d+')
  local stamp = call('HGET', state, 'turn')
  if stamp then
    local e, t = match(stamp, '^(%d+) (%d+)$')
    if not e then return '!the last turn reads ' .. sub(stamp, 1, 60) end
    if e == epoch and tonumber(t) >= tonumber(turn) then return 1 end
  end
  call('ZCARD', index)
  local first = a + 5
  local deletes = first + 2 * ARGV[a + 4]
  remove(state, index, deletes, a + 1 + ARGV[a + 1])
  put(state, index, epoch .. ' ' .. turn, stamp and 0 or 1, first, deletes - 1)
  return 1
end

local function get(state, fields, first, last, into, named)
  for i = first, last, CHUNK do
    local j = math.min(i + CHUNK - 1, last)
    local values = call('HMGET', state, unpack(fields, i, j))
    for v = 1, j - i + 1 do
      if named then into[#into + 1] = fields[i + v - 1] end
      into[#into + 1] = values[v]
    end
  end
  return into
end

local function read(k, a)
  return get(KEYS[k], ARGV, a + 2, a + 1 + ARGV[a + 1], {}, false)
end

local function range(k, a)
  local fields =
    call(ARGV[a + 1], KEYS[k + 1], ARGV[a + 2], ARGV[a + 3], 'LIMIT', 0, ARGV[a + 4])
  return get(KEYS[k], fields, 1, #fields, {}, true)
end

local steps = { L = lookup, C = claim, R = release, W = commit, G = read, N = range }
local keys = { L = 1, C = 2, R = 1, W = 3, G = 1, N = 2 }
local arguments = { L = 1, C = 4, R = 2, N = 5 }
local replies, n, k, a, total = {}, 0, 1, 1, #ARGV
while a <= total do
  local kind = ARGV[a]
  local ok, reply = pcall(steps[kind], k, a)
  if not ok then reply = '!' .. tostring(type(reply) == 'table' and reply.err or reply) end
  n = n + 1
  replies[n] = reply
  k = k + keys[kind]
  a = a + (arguments[kind] or 2 + ARGV[a + 1])
end
return replies`;

/** What the membership scripts share; their keys are those of `MEMBER_KEYS`, in order. */
const MEMBERSHIP = `
local info, seqs, states, names, ended, versions, pruned = unpack(KEYS)
local call = redis.call
local function version() return tonumber(call('GET', versions) or 0) end
local function finish(inc, state)
  local told = cjson.decode(call('HGET', info, inc))
  local name = told.region .. '/' .. told.node
  if call('HGET', names, name) == inc then call('HDEL', names, name) end
  call('HSET', states, inc, state)
  call('RPUSH', ended, inc)
  call('INCR', versions)
end`;

/**
 * ARGV: incarnation, `<region>/<node>`, the member as JSON, "1" if only if free, dead to
 * keep, a version of membership seen before this registration was first sent. Gives the
 * outcome and the version.
 *
 * A registration may be repeated by the network long after its member is dead and even
 * pruned, and must not bring it back to life: `stale` where members were pruned since the
 * version seen, so that this may be one of them.
 */
export const REGISTER: string = `${MEMBERSHIP}
local inc, name = ARGV[1], ARGV[2]
local state = call('HGET', states, inc)
if state then return { state == 'live' and 'registered' or 'fenced', version() } end
if tonumber(ARGV[6]) < tonumber(call('GET', pruned) or 0) then return { 'stale', version() } end
local rival = call('HGET', names, name)
if rival then
  if ARGV[4] == '1' then return { 'name_taken', version() } end
  call('HSET', states, rival, 'superseded')
end
call('HSET', info, inc, ARGV[3])
call('HSET', seqs, inc, 0)
call('HSET', states, inc, 'live')
call('HSET', names, name, inc)
local now = call('INCR', versions)
while call('LLEN', ended) > tonumber(ARGV[5]) do
  local old = call('LPOP', ended)
  call('HDEL', info, old)
  call('HDEL', seqs, old)
  call('HDEL', states, old)
  call('SET', pruned, now)
end
return { 'registered', now }`;

/** ARGV: incarnation, seq, watched incarnations. Gives state, version, then inc, seq, state each. */
export const RENEW: string = `${MEMBERSHIP}
local inc = ARGV[1]
local state = call('HGET', states, inc)
if state == 'live' and tonumber(ARGV[2]) > tonumber(call('HGET', seqs, inc)) then
  call('HSET', seqs, inc, ARGV[2])
end
local reply = { state, version() }
for i = 3, #ARGV do
  local seen = call('HGET', states, ARGV[i])
  if seen then
    reply[#reply + 1] = ARGV[i]
    reply[#reply + 1] = call('HGET', seqs, ARGV[i])
    reply[#reply + 1] = seen
  end
end
return reply`;

/** ARGV: incarnation, the seq seen. Gives a list of the state afterwards, or of nil. */
export const KILL: string = `${MEMBERSHIP}
local inc = ARGV[1]
local state = call('HGET', states, inc)
if (state == 'live' or state == 'superseded') and call('HGET', seqs, inc) == ARGV[2] then
  finish(inc, 'dead')
  return { 'dead' }
end
return { state }`;

/** ARGV: incarnation, the member as JSON. Gives a list of `left`. */
export const LEAVE: string = `${MEMBERSHIP}
local inc = ARGV[1]
local state = call('HGET', states, inc)
if not state then
  call('HSET', info, inc, ARGV[2])
  call('HSET', seqs, inc, 0)
end
if not state or state == 'live' or state == 'superseded' then finish(inc, 'left') end
return { 'left' }`;

/** Gives version, then three flat lists: members as JSON, seqs, states. */
export const MEMBERS: string = `${MEMBERSHIP}
return { version(), call('HGETALL', info), call('HGETALL', seqs), call('HGETALL', states) }`;

/**
 * ARGV: cursor, pattern, count. Gives what SCAN does: the next cursor, and keys. Where a
 * plain SCAN might be answered by a replica, a script is not.
 */
export const SCAN: string =
  `return redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3])`;

/** Every script, to be loaded when a connection opens. Each answers with a list. */
export const SCRIPTS: readonly string[] = [STEPS, REGISTER, RENEW, KILL, LEAVE, MEMBERS, SCAN];

/** The keys of the membership scripts: one hash tag, so one slot of a cluster. */
export const MEMBER_KEYS: readonly string[] = [
  "atlas:{members}:info",
  "atlas:{members}:seq",
  "atlas:{members}:state",
  "atlas:{members}:name",
  "atlas:{members}:ended",
  "atlas:{members}:version",
  "atlas:{members}:pruned",
];
