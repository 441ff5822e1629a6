/**
 * The Lua that runs inside Redis. Each script is one atomic step, or all steps of one tick.
 *
 * Scripts take keys and text, and give lists of integers and text. Every key of one resource shares
 * the hash tag of its slot. Every script touches the keys of one tag only or, if Redis is no
 * cluster, all keys that one tick asked for.
 *
 * Baseline Redis 6.2. No script reads the server's clock, and no key expires except `ended`, which
 * only helps to detect losses: safety rests on compare-and-set alone (`docs/design.md`, Claims).
 */
import { ENDED_TURNS_MS, EPOCHS_PER_TERM } from "../../../src/limits.ts";
import { MAX_PAST } from "../lineage.ts";
import { FULL, OOM, SIZE } from "./full_scripts.ts";
import { COPY, KILL, LEAVE, MEMBERS, REGISTER, RENEW } from "./membership_scripts.ts";

/**
 * Steps on resources, as many as one tick asked for, each with its own reply.
 *
 * An ownership is the text `<epoch> <incarnation> <opId> <rrp>`. State is a hash of
 * `:<field>` → value with the last turn in the field `turn` and, in `past`, the turns that were
 * the last before epochs of a higher term first wrote, parted by commas; and a sorted set of the
 * same `:<field>` members, all at score 0, so in bytewise order. A state that has no field when
 * its ownership is released becomes `ended`, for a while, which the next claim makes the state
 * again; without it a loss of its last turns could not be detected. A guard is the beginning of an
 * ownership, `<epoch> <incarnation> `.
 *
 * A key that is missing while others of its resource exist (it was evicted, or deleted by hand) is
 * detected. An index whose size differs from the number of the state's fields is rebuilt from the
 * state. If the state is missing and its index exists, the index stays until the owner that got the
 * error of the loss has read, written or released it. A reply says so by `MENDED`: a list of two
 * numbers, the fields of the state and the members that its index had.
 *
 * | step | keys | arguments | reply |
 * |---|---|---|---|
 * | L look up | own | | the entry that stands, or nil |
 * | C claim | own, epoch, state, ended, index | `<incarnation> <opId> <rrp>`, guard or "", lineage, epochs above | epoch won, last turn, MENDED or nil, and 1 if the epoch counter was lost; else the entry that stands, or nil; 0: another lineage |
 * | A reassert | own, epoch, state | `<incarnation> <opId> <rrp>`, epoch, turn `after` (its epoch, itself), lineage, its term's first epoch | how it stands and last turn; 0: another lineage |
 * | R release | own, epoch, state, ended, index | guard, turn `after` (its epoch, itself) | 1, 0, or another's entry |
 * | D by whom | | incarnation, lineage: those of the commits that follow | none |
 * | W commit | own, state, index | `<puts> <deletes> <epoch> <turn> <epoch of turn after> <turn after>`, field, value …, field to delete … | 1, 0, another's entry, 2: another lineage, or a list of the last turn if `after` is missing |
 * | K kept | state, ended | lineage | last turn and `past`; 0: another lineage |
 * | G read | state | count, turn `after` (its epoch, itself), lineage, field … | values; if `after` is missing, a list in a list: the last turn, and `lost`, or `moved` in another lineage |
 * | N range | state, index | command, bound, bound, limit, turn `after` (its epoch, itself), lineage | MENDED if they differed, field, value …; or as G |
 *
 * A lineage is `*`, any, or `=` and the ids of the copies it is made of; this server's own,
 * its replication id, must be one of them. A last turn is `<epoch> <turn>`, or nil.
 *
 * Every step may come twice, and late: clients repeat, and so do networks. A claim that is repeated
 * finds its own entry by `opId`, a commit its turn, a release nothing. A late copy of a claim whose
 * ownership was released may win again, under a higher epoch: such an entry is treated like any
 * claim whose answer was lost.
 *
 * A step that fails answers text that starts with `!`, without affecting others; `!~<what>: <text>`
 * if its key's content can't be read. A commit touches every key that it will write before it
 * writes, so that a key of a wrong type fails it as a whole. `unpack` is limited to about 8,000
 * values.
 *
 * If the memory is full (`full_scripts.ts`), these steps still succeed: claims of keys with a state
 * or an owner, reassertions, releases, and commits that don't grow the state. Steps that would grow
 * it are refused (OOM) before they write anything.
 */
export const STEPS: string = `
local CHUNK = 4000
local TERM = ${EPOCHS_PER_TERM}
local call, sub, match = redis.call, string.sub, string.match
${COPY}
local ownCopy

${FULL}
local function refuse() error({ err = ${OOM} }) end

local function present(lineage)
  if lineage == '*' then return true end
  ownCopy = ownCopy or copy()
  return string.find(lineage, ownCopy, 2, true) ~= nil
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

local function reindex(state, index)
  call('DEL', index)
  local names, members = call('HKEYS', state), {}
  for i = 1, #names do
    if sub(names[i], 1, 1) == ':' then
      members[#members + 1] = '0'
      members[#members + 1] = names[i]
    end
    if #members > 0 and (i == #names or #members >= CHUNK) then
      call('ZADD', index, unpack(members))
      members = {}
    end
  end
end

local function mended(state, index, stamp, isOwners)
  local fields = call('HLEN', state) - (stamp and 1 or 0) - call('HEXISTS', state, 'past')
  local members = call('ZCARD', index)
  if fields == members then return nil end
  if isOwners or stamp or fields > 0 then reindex(state, index) end
  return { fields, members }
end

local function claim(k, a)
  if not present(ARGV[a + 3]) then return 0 end
  local own, rest, guard = KEYS[k], ARGV[a + 1], ARGV[a + 2]
  local state, index = KEYS[k + 2], KEYS[k + 4]
  local now = call('GET', own)
  if now then
    if sub(now, -#rest - 1) == ' ' .. rest then
      local epoch = tonumber(match(now, '^%d+'))
      if not epoch then return now end
      local stamp = call('HGET', state, 'turn')
      return { epoch, stamp, mended(state, index, stamp) }
    end
    if guard == '' or sub(now, 1, #guard) ~= guard then return now end
  elseif guard ~= '' then
    return false
  end
  local stamp = call('HGET', state, 'turn')
  local ended = KEYS[k + 3]
  local isFull = full(own)
  if not stamp and call('EXISTS', ended) == 1 and call('RENAMENX', ended, state) == 1 then
    call('PERSIST', state)
    stamp = call('HGET', state, 'turn')
  end
  if isFull and not now and not stamp and call('HLEN', state) == 0 then refuse() end
  local wrote = stamp and tonumber((stampOf(stamp))) or 0
  -- A counter that was lost must not repeat an epoch.
  local stands = now and tonumber(match(now, '^%d+') or 0) or 0
  local last, above = drawn(KEYS[k + 1]), tonumber(ARGV[a + 4])
  local isLost = math.max(wrote, stands) > math.max(last, above)
  local epoch = math.max(last, above, wrote, stands) + 1
  local text = string.format('%.0f', epoch)
  local parts = mended(state, index, stamp) or false
  call('SET', KEYS[k + 1], text)
  call('SET', own, text .. ' ' .. rest)
  return { epoch, stamp, parts, isLost and 1 or 0 }
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
    local wrote, first = stamp and tonumber((stampOf(stamp))) or 0, tonumber(ARGV[a + 6])
    -- Late: others own what falls to this slot by now, and this ownership may have ended since.
    local isLate = wrote > epoch or epoch < first and drawn(KEYS[k + 1]) > first
    if not now and isLate then return { 'lost', stamp } end
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
  local state, ended, index = KEYS[k + 2], KEYS[k + 3], KEYS[k + 4]
  local length = redis.pcall('HLEN', state)
  if type(length) == 'number' and length > 0 and length <= 2 and
    length == call('HEXISTS', state, 'turn') + call('HEXISTS', state, 'past') then
    call('RENAME', state, ended)
    call('PEXPIRE', ended, ${ENDED_TURNS_MS})
  elseif length == 0 and has(nil, tonumber(ARGV[a + 2]), tonumber(ARGV[a + 3])) then
    call('DEL', index)
  end
  -- With the entry goes what else would tell of its epoch, should the counter have been lost.
  if redis.pcall('EXISTS', KEYS[k + 1]) == 0 then
    call('SET', KEYS[k + 1], match(guard, '^%d+'))
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

local writer, known
local function commit(k, a, puts, deletes, epoch, turn, e, t)
  local own, state, index = KEYS[k], KEYS[k + 1], KEYS[k + 2]
  local now, guard = call('GET', own), epoch .. ' ' .. writer .. ' '
  if not now or sub(now, 1, #guard) ~= guard then
    if not present(known) then return 2 end
    return now or 0
  end
  local stamp = call('HGET', state, 'turn')
  -- Usual: the last turn is the one that the owner committed before, under the same epoch.
  local isNext = e == epoch and stamp == e .. ' ' .. t
  local isRepeated = isNext and tonumber(t) >= tonumber(turn)
  if stamp and not isNext then
    local lastEpoch, lastTurn = stampOf(stamp)
    isRepeated = lastEpoch == epoch and tonumber(lastTurn) >= tonumber(turn)
  end
  if isRepeated then return 1 end
  if not isNext and not has(stamp, tonumber(e), tonumber(t)) then
    return present(known) and { stamp } or 2
  end
  local isLeft = call('ZCARD', index) > 0 and not stamp
  local first = a + 2
  local firstDelete = first + 2 * puts
  local last = firstDelete + deletes - 1
  local new, fresh = epoch .. ' ' .. turn, stamp and 0 or 1
  if full(own) then
    if grows(state, first, firstDelete, last) then refuse() end
    -- A server that refuses this even now has written nothing yet.
    call('HSET', state, 'turn', new)
    fresh = 0
  end
  if isLeft then call('DEL', index) end
  if not isNext then cross(state, stamp, epoch) end
  remove(state, index, firstDelete, last)
  put(state, index, new, fresh, first, firstDelete - 1)
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

local function lacks(stamp, a)
  if has(stamp, tonumber(ARGV[a]), tonumber(ARGV[a + 1])) then return nil end
  return { { stamp, present(ARGV[a + 2]) and 'lost' or 'moved' } }
end

local function read(k, a)
  if ARGV[a + 2] ~= '0' then
    local lost = lacks(call('HGET', KEYS[k], 'turn'), a + 2)
    if lost then return lost end
  end
  return get(KEYS[k], ARGV, a + 5, a + 1 + ARGV[a + 1], {}, false)
end

local function range(k, a)
  local state, index = KEYS[k], KEYS[k + 1]
  local stamp = call('HGET', state, 'turn')
  local lost = lacks(stamp, a + 5)
  if lost then return lost end
  -- Whoever names no lineage owns nothing, and was never answered with a loss.
  local parts = mended(state, index, stamp, ARGV[a + 7] ~= '*')
  if parts and parts[1] == 0 then return { parts } end
  local fields = call(ARGV[a + 1], index, ARGV[a + 2], ARGV[a + 3], 'LIMIT', 0, ARGV[a + 4])
  return get(state, fields, 1, #fields, { parts }, true)
end

local steps = { L = lookup, C = claim, A = reassert, R = release, K = kept, G = read, N = range }
local keys = { L = 1, C = 5, A = 3, R = 5, W = 3, K = 2, G = 1, N = 2 }
local arguments = { L = 1, C = 5, A = 7, R = 4, K = 2, N = 8 }
local replies, n, k, a, total = {}, 0, 1, 1, #ARGV
while a <= total do
  local kind = ARGV[a]
  local ok, reply, size
  if kind == 'D' then
    writer, known = ARGV[a + 1], ARGV[a + 2]
    a = a + 3
    kind = ARGV[a]
  end
  if kind == 'W' then
    local puts, deletes, epoch, turn, e, t =
      match(ARGV[a + 1], '^(%d+) (%d+) (%d+) (%d+) (%d+) (%d+)$')
    size = 2 + 2 * puts + deletes
    ok, reply = pcall(commit, k, a, puts, deletes, epoch, turn, e, t)
  else
    size = arguments[kind] or 2 + ARGV[a + 1]
    ok, reply = pcall(steps[kind], k, a)
  end
  if not ok then reply = '!' .. tostring(type(reply) == 'table' and reply.err or reply) end
  n = n + 1
  replies[n] = reply
  k = k + keys[kind]
  a = a + size
end
return replies`;

/**
 * ARGV: cursor, pattern, count. Gives what SCAN does: the next cursor, and keys. A replica might
 * answer a plain SCAN, but not a script.
 */
export const SCAN: string =
  `return redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3])`;

/** Every script, to be loaded when a connection opens. Each answers with a list. */
export const SCRIPTS: readonly string[] = [STEPS, REGISTER, RENEW, KILL, LEAVE, MEMBERS, SCAN];
