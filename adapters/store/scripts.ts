/**
 * The Lua that runs inside Redis: the notary's own hands. Each script is one atomic
 * step, or one tick's worth of them.
 *
 * They take keys and text, and give lists of integers and text. Every key of one
 * resource shares its slot's hash tag, and every script touches either one tag only
 * or, where Redis is no cluster, all that one tick asked for.
 *
 * Baseline Redis 6.2. No script reads the server's clock, and no key expires but `ended`, which
 * only helps to tell losses: safety rests on compare-and-set alone (design §3).
 */
import { ENDED_TURNS_MS, EPOCHS_PER_TERM } from "../../src/limits.ts";
import { MAX_PAST } from "./lineage.ts";
import { FULL, OOM, SIZE } from "./scripts_full.ts";
import { COPY, KILL, LEAVE, MEMBERS, REGISTER, RENEW } from "./scripts_members.ts";

/**
 * Steps on resources, as many as one tick asked for, each with its own reply.
 *
 * An ownership is the text `<epoch> <incarnation> <opId> <rrp>`. State is a hash of
 * `:<field>` → value with the last turn in the field `turn` and, in `past`, the turns that were
 * the last before epochs of a higher term first wrote, parted by commas; and a sorted set of the
 * same `:<field>` members, all at score 0, so in bytewise order. A state that has no field when
 * its ownership is released becomes `ended`, for a while, which the next claim makes the state
 * again: else nobody could say whether its last turns were lost. A guard is the beginning of an
 * ownership, `<epoch> <incarnation> `.
 *
 * | step | keys | arguments | reply |
 * |---|---|---|---|
 * | L look up | own | | the entry that stands, or nil |
 * | C claim | own, epoch, state, ended | `<incarnation> <opId> <rrp>`, guard or "", lineage, epochs above | epoch won and last turn, else the entry that stands, or nil; 0: another lineage |
 * | A reassert | own, epoch, state | `<incarnation> <opId> <rrp>`, epoch, turn `after` (its epoch, itself), lineage | how it stands and last turn; 0: another lineage |
 * | R release | own, state, ended | guard | 1, 0, or another's entry |
 * | W commit | own, state, index | count, guard, turn, turn `after` (its epoch, itself), lineage, puts, field, value …, field to delete … | 1, 0, another's entry, 2: another lineage, or a list of the last turn where `after` is missing |
 * | K kept | state, ended | lineage | last turn and `past`; 0: another lineage |
 * | G read | state | count, field … | values |
 * | N range | state, index | command, bound, bound, limit | field, value … |
 *
 * A lineage is `*`, any, or `=` and the ids of the copies it is made of; this server's own,
 * its replication id, must be one of them. A last turn is `<epoch> <turn>`, or nil.
 *
 * Every step may come twice, and late: clients repeat, and so do networks. A claim that
 * comes again finds its own entry by `opId`, a commit its turn, a release nothing. What
 * a release has ended, a late copy of its claim may win anew, under a higher epoch: an
 * entry whose claimer never heard of it, as any whose answer got lost.
 *
 * A step that fails answers text that starts with `!`, and spoils no other; `!~<what>: <text>`
 * where what stands at its key can't be read. Before a
 * commit writes anything it has touched every key that it will write, so that a key
 * of a wrong type fails it whole. `unpack` is limited to about 8,000 values.
 *
 * Where the memory is full (`scripts_full.ts`) these are taken all the same: claims of what has a
 * state or an owner, reassertions, releases, and commits that leave no more in the state than was
 * there. What would grow is refused (OOM) before it has written anything.
 */
export const STEPS: string = `
local CHUNK = 4000
local TERM = ${EPOCHS_PER_TERM}
local call, sub, match = redis.call, string.sub, string.match
${COPY}
local mine

${FULL}
local function refuse() error({ err = ${OOM} }) end

local function present(lineage)
  if lineage == '*' then return true end
  mine = mine or copy()
  return string.find(lineage, mine, 2, true) ~= nil
end

local function broken(what, text)
  error({ err = '~' .. what .. ': ' .. sub(text, 1, 60) })
end

local function stampOf(stamp)
  local e, t = match(stamp, '^(%d+) (%d+)$')
  if not e or #e > 16 or #t > 16 then broken('last turn', stamp) end
  return e, t
end

local function has(stamp, epoch, turn)
  if epoch == 0 then return true end
  if not stamp then return false end
  local e, t = stampOf(stamp)
  return tonumber(e) > epoch or tonumber(e) == epoch and tonumber(t) >= turn
end

local function drawn(counter)
  local text = call('GET', counter)
  if not text then return 0 end
  local epoch = match(text, '^%d+$') and #text <= 16 and tonumber(text)
  if not epoch or epoch >= 2 ^ 53 - 1 then broken("epoch counter", text) end
  return epoch
end

local function lookup(k)
  return call('GET', KEYS[k])
end

local function claim(k, a)
  if not present(ARGV[a + 3]) then return 0 end
  local own, rest, guard = KEYS[k], ARGV[a + 1], ARGV[a + 2]
  local now = call('GET', own)
  if now then
    if sub(now, -#rest - 1) == ' ' .. rest then
      local epoch = tonumber(match(now, '^%d+'))
      return epoch and { epoch, call('HGET', KEYS[k + 2], 'turn') } or now
    end
    if guard == '' or sub(now, 1, #guard) ~= guard then return now end
  elseif guard ~= '' then
    return false
  end
  local stamp = call('HGET', KEYS[k + 2], 'turn')
  local isFull = full(own)
  if not stamp and call('EXISTS', KEYS[k + 3]) == 1 and call('RENAMENX', KEYS[k + 3], KEYS[k + 2]) == 1 then
    call('PERSIST', KEYS[k + 2])
    stamp = call('HGET', KEYS[k + 2], 'turn')
  end
  if isFull and not now and not stamp and call('HLEN', KEYS[k + 2]) == 0 then refuse() end
  local wrote = stamp and tonumber((stampOf(stamp))) or 0
  -- A counter that was lost must not repeat an epoch.
  local stands = now and tonumber(match(now, '^%d+') or 0) or 0
  local epoch = math.max(drawn(KEYS[k + 1]), tonumber(ARGV[a + 4]), wrote, stands) + 1
  local text = string.format('%.0f', epoch)
  call('SET', KEYS[k + 1], text)
  call('SET', own, text .. ' ' .. rest)
  return { epoch, stamp }
end

local function reassert(k, a)
  if not present(ARGV[a + 5]) then return 0 end
  local own, rest, text = KEYS[k], ARGV[a + 1], ARGV[a + 2]
  local epoch, now = tonumber(text), call('GET', own)
  local guard = text .. ' ' .. match(rest, '^%S+ ')
  local kept = now and sub(now, 1, #guard) == guard
  local stamp = call('HGET', KEYS[k + 2], 'turn')
  local whole = has(stamp, tonumber(ARGV[a + 3]), tonumber(ARGV[a + 4]))
  if not kept then
    local theirs = now and match(now, '^%d+')
    if now and not theirs then broken('owner', now) end
    if now and tonumber(theirs) >= epoch then return { 'lost', stamp } end
    if stamp then stampOf(stamp) end
    full(own)
    if drawn(KEYS[k + 1]) < epoch then call('SET', KEYS[k + 1], text) end
    call('SET', own, text .. ' ' .. rest)
  end
  return { not whole and 'behind' or kept and 'kept' or 'restored', stamp }
end

local function release(k, a)
  local now = call('GET', KEYS[k])
  if not now then return 0 end
  local guard = ARGV[a + 1]
  if sub(now, 1, #guard) ~= guard then return now end
  full(KEYS[k])
  local length = redis.pcall('HLEN', KEYS[k + 1])
  if type(length) == 'number' and length > 0 and length <= 2 and
    length == call('HEXISTS', KEYS[k + 1], 'turn') + call('HEXISTS', KEYS[k + 1], 'past') then
    call('RENAME', KEYS[k + 1], KEYS[k + 2])
    call('PEXPIRE', KEYS[k + 2], ${ENDED_TURNS_MS})
  end
  return call('DEL', KEYS[k])
end

local function remove(state, index, first, last)
  for i = first, last, CHUNK do
    local j = math.min(i + CHUNK - 1, last)
    if call('HDEL', state, unpack(ARGV, i, j)) > 0 then call('ZREM', index, unpack(ARGV, i, j)) end
  end
end

${SIZE}
local function grows(state, first, deletes, last)
  local more = 0
  for i = first, deletes - 1, 2 do more = more + size(state, ARGV[i], ARGV[i + 1]) end
  for i = deletes, last do more = more + size(state, ARGV[i]) end
  return more > 0
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

local function cross(state, stamp, epoch)
  local before = stamp or '0 0'
  local from, to = tonumber(match(before, '^%d+')), tonumber(epoch)
  if math.floor(from / TERM) >= math.floor(to / TERM) then return end
  local past = call('HGET', state, 'past') or ''
  if #past > 35 * ${MAX_PAST} then past = '' end
  past = past == '' and before or past .. ',' .. before
  local _, commas = string.gsub(past, ',', ',')
  if commas >= ${MAX_PAST} then past = sub(past, string.find(past, ',', 1, true) + 1) end
  call('HSET', state, 'past', past)
end

local function commit(k, a)
  local state, index, guard, turn = KEYS[k + 1], KEYS[k + 2], ARGV[a + 2], ARGV[a + 3]
  local now = call('GET', KEYS[k])
  if not now or sub(now, 1, #guard) ~= guard then
    if not present(ARGV[a + 6]) then return 2 end
    return now or 0
  end
  local epoch = match(guard, '^%d+')
  local stamp = call('HGET', state, 'turn')
  if stamp then
    local e, t = stampOf(stamp)
    if e == epoch and tonumber(t) >= tonumber(turn) then return 1 end
  end
  if not has(stamp, tonumber(ARGV[a + 4]), tonumber(ARGV[a + 5])) then
    return present(ARGV[a + 6]) and { stamp } or 2
  end
  call('ZCARD', index)
  local first = a + 8
  local deletes = first + 2 * ARGV[a + 7]
  local last = a + 1 + ARGV[a + 1]
  local new, fresh = epoch .. ' ' .. turn, stamp and 0 or 1
  if full(KEYS[k]) then
    if grows(state, first, deletes, last) then refuse() end
    -- A server that refuses this even now has written nothing yet.
    call('HSET', state, 'turn', new)
    fresh = 0
  end
  cross(state, stamp, epoch)
  remove(state, index, deletes, last)
  put(state, index, new, fresh, first, deletes - 1)
  return 1
end

local function kept(k, a)
  if not present(ARGV[a + 1]) then return 0 end
  local state = KEYS[call('EXISTS', KEYS[k]) == 1 and k or k + 1]
  return call('HMGET', state, 'turn', 'past')
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

local steps =
  { L = lookup, C = claim, A = reassert, R = release, W = commit, K = kept, G = read, N = range }
local keys = { L = 1, C = 4, A = 3, R = 3, W = 3, K = 2, G = 1, N = 2 }
local arguments = { L = 1, C = 5, A = 6, R = 2, K = 2, N = 5 }
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

/**
 * ARGV: cursor, pattern, count. Gives what SCAN does: the next cursor, and keys. Where a
 * plain SCAN might be answered by a replica, a script is not.
 */
export const SCAN: string =
  `return redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3])`;

/** Every script, to be loaded when a connection opens. Each answers with a list. */
export const SCRIPTS: readonly string[] = [STEPS, REGISTER, RENEW, KILL, LEAVE, MEMBERS, SCAN];
