/**
 * The Lua of the strategy `optimistic`: what one master's Redis does in one step with a
 * resource's keys. Of each key there is one for each master, which that master alone
 * writes: `atlas:{s<slot>}:claim/<master>:<key>`, `…:state/<master>:<key>`,
 * `…:index/<master>:<key>`, and `atlas:{s<slot>}:epoch/<master>`.
 *
 * A claim's text is `<epoch> <incarnation> <opId> <over> <rrp>`; `over` is `-`, or
 * `<master>:<epoch>` for each other claim that its claimer had seen, joined by commas. Epochs of
 * the n-th of M masters are n modulo M, so that no two masters give the same. A field's text is
 * `<epoch> <turn>:<value>`, or `<epoch> <turn>-` if it was deleted and another master may still
 * have it: of the texts of several masters, the greatest counts.
 *
 * What can't be read at a key is answered as `!~<what>: <text>`, and nothing is written.
 *
 * If the memory is full (`full_scripts.ts`), every step is accepted except a commit that would make
 * its own state grow.
 *
 * Text is compared by bytes, never by Lua's `<`, which follows the server's locale.
 */
import { FULL, OOM, READY, SIZE } from "../redis/full_scripts.ts";

/** ARGV: own master's place from 1, how many masters, their names. KEYS: their claims first. */
const CLAIMS = `
local call, match, gmatch, byte = redis.call, string.match, string.gmatch, string.byte
local own, count = tonumber(ARGV[1]), tonumber(ARGV[2])
local rest = 2 + count
local function broken(what, text) return '!~' .. what .. ': ' .. string.sub(text, 1, 60) end
local texts, claims = {}, {}
for i = 1, count do
  texts[i] = call('GET', KEYS[i])
  if texts[i] then
    local epoch, inc, op, over = match(texts[i], '^(%d+) (%S+) (%S+) (%S+) %S+$')
    if not epoch or tonumber(epoch) >= 2 ^ 53 - 64 then return broken('claim', texts[i]) end
    local claim = { i = i, epoch = tonumber(epoch), inc = inc, op = op, over = {} }
    for name, e in gmatch(over, '([^,:]+):(%d+)') do claim.over[name] = tonumber(e) end
    claims[#claims + 1] = claim
    claims['of' .. i] = claim
  end
end
local mine = claims['of' .. own]

local function above(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = byte(a, i), byte(b, i)
    if x ~= y then return x > y end
  end
  return #a > #b
end
local function supersedes(a, b) return (a.over[ARGV[2 + b.i]] or -1) >= b.epoch end
local function isEnded(claim)
  if claim.inc == '-' then return true end
  for _, other in ipairs(claims) do
    if other.inc == '-' and supersedes(other, claim) then return true end
  end
  return false
end
local function greatest()
  local best
  for _, claim in ipairs(claims) do
    if not isEnded(claim) and (not best or claim.epoch > best.epoch or
      (claim.epoch == best.epoch and above(claim.inc, best.inc))) then best = claim end
  end
  return best
end
local function whole(n) return string.format('%.0f', n) end
local function others()
  local over = {}
  for _, claim in ipairs(claims) do
    if claim ~= mine then over[#over + 1] = ARGV[2 + claim.i] .. ':' .. whole(claim.epoch) end
  end
  return #over > 0 and table.concat(over, ',') or '-'
end
local function isMine(inc, epoch)
  return mine and mine.inc == inc and mine.epoch == tonumber(epoch)
end`;

/** Gives each master's claim as text, or nil. */
export const READ_CLAIMS: string = `
local texts = {}
for i, key in ipairs(KEYS) do texts[i] = redis.call('GET', key) end
return texts`;

/**
 * KEYS: claims, then epochs, then states. ARGV, after the masters: incarnation, opId, rrp, the
 * owner expected as `<epoch> <incarnation>` or "", the epoch to be above. Gives the claims
 * afterwards.
 */
export const WRITE_CLAIM: string = `${CLAIMS}
${READY}
ready(KEYS[own])
local inc, op, rrp, guard, least = unpack(ARGV, rest + 1, rest + 5)
if mine and mine.inc == inc and mine.op == op then return texts end
local best = greatest()
local stands = best and whole(best.epoch) .. ' ' .. best.inc or ''
if stands ~= guard then return texts end
local epoch = tonumber(least)
for i = 1, count do
  local text = call('GET', KEYS[count + i]) or '0'
  local drawn = match(text, '^%d+$') and #text <= 16 and tonumber(text)
  if not drawn or drawn >= 2 ^ 53 - 2 * count then return broken("epoch counter", text) end
  local stamp = call('HGET', KEYS[2 * count + i], 'turn')
  local wrote = not stamp and '0' or match(stamp, '^(%d+) %d+$')
  if not wrote or #wrote > 16 then return broken('last turn', stamp) end
  -- A counter that was lost must not repeat an epoch.
  epoch = math.max(epoch, drawn, tonumber(wrote))
end
for _, claim in ipairs(claims) do epoch = math.max(epoch, claim.epoch) end
epoch = epoch + 1
epoch = epoch + (own - 1 - epoch) % count
call('SET', KEYS[count + own], whole(epoch))
texts[own] = whole(epoch) .. ' ' .. inc .. ' ' .. op .. ' ' .. others() .. ' ' .. rrp
call('SET', KEYS[own], texts[own])
return texts`;

/**
 * KEYS: claims, the own state, its index, the own epoch counter. ARGV, after the masters:
 * incarnation, epoch, the epoch of the last turn that the owner knows of. Gives 1 if the claim was
 * this one and the owner's, else 0. The remaining parts of a lost state are removed if its owner
 * knows of the loss.
 *
 * A claim that this one superseded must not become the owner's when it is withdrawn; nor, if this
 * was the owner's claim, may any rival's: the new owner's epoch would be lower than the last. If a
 * claim would become the owner's that way, this claim stays, marked as withdrawn.
 */
export const WITHDRAW: string = `${CLAIMS}
${READY}
ready(KEYS[own])
if not isMine(ARGV[rest + 1], ARGV[rest + 2]) then return 0 end
local wasOwner = greatest() == mine
if ARGV[rest + 3] == '0' and call('EXISTS', KEYS[count + 1]) == 0 then
  call('DEL', KEYS[count + 2])
end
if call('EXISTS', KEYS[count + 3]) == 0 then call('SET', KEYS[count + 3], whole(mine.epoch)) end
local rises = false
for _, claim in ipairs(claims) do
  local isBelow = wasOwner or supersedes(mine, claim)
  if claim ~= mine and not isEnded(claim) and isBelow then rises = true end
end
if rises then
  local epoch, op, over, rrp = match(texts[own], '^(%d+) %S+ (%S+) (%S+) (%S+)$')
  if wasOwner then over = others() end
  call('SET', KEYS[own], epoch .. ' - ' .. op .. ' ' .. over .. ' ' .. rrp)
else
  call('DEL', KEYS[own])
end
return wasOwner and 1 or 0`;

/**
 * KEYS: claims. ARGV, after the masters: incarnation, epoch. If the claim is this one and the
 * owner's, has it supersede all others. Gives 1 or 0.
 */
export const SETTLE: string = `${CLAIMS}
${READY}
ready(KEYS[own])
if not isMine(ARGV[rest + 1], ARGV[rest + 2]) or greatest() ~= mine then return 0 end
local head, tail = match(texts[own], '^(%d+ %S+ %S+ )%S+( %S+)$')
call('SET', KEYS[own], head .. others() .. tail)
return 1`;

/** Whether a state whose last turn is `last` lacks a turn of an epoch; 0: none is asked for. */
const LACKS = `
local function lacks(last, epoch, turn)
  if epoch == '0' then return false end
  local e, t = string.match(last or '', '^(%d+) (%d+)$')
  e, t, epoch, turn = tonumber(e), tonumber(t), tonumber(epoch), tonumber(turn)
  return not e or e < epoch or e == epoch and t < turn
end`;

/**
 * KEYS: claims, states, the own index. ARGV, after the masters: incarnation, epoch, turn, the turn
 * that the own state must have (its epoch, itself), puts, field, value …, field to delete …. Gives
 * 1, 0 if it is fenced, or a list of the last turn if that turn is missing. Touches every key that
 * it will write before it writes any.
 */
export const COMMIT: string = `${CLAIMS}
${FULL}
${SIZE}
${LACKS}
local inc, epoch, turn, sinceEpoch, sinceTurn, puts = unpack(ARGV, rest + 1, rest + 6)
if not isMine(inc, epoch) or greatest() ~= mine then return 0 end
local state, index = KEYS[count + own], KEYS[2 * count + 1]
local last = call('HGET', state, 'turn')
if last then
  local e, t = match(last, '^(%d+) (%d+)$')
  if not e then return broken('last turn', last) end
  if e == epoch and tonumber(t) >= tonumber(turn) then return 1 end
end
if lacks(last, sinceEpoch, sinceTurn) then return { last } end
local isLeft = call('ZCARD', index) > 0 and not last
local stamp = epoch .. ' ' .. turn
local first = rest + 7
local deletes = first + 2 * puts
local function isElsewhere(field)
  for m = 1, count do
    if m ~= own and call('HEXISTS', KEYS[count + m], field) == 1 then return true end
  end
  return false
end
if full(KEYS[own]) then
  local more = 0
  for i = first, deletes - 1, 2 do
    more = more + size(state, ARGV[i], stamp .. ':' .. ARGV[i + 1])
  end
  for i = deletes, #ARGV do
    more = more + size(state, ARGV[i], isElsewhere(ARGV[i]) and stamp .. '-' or nil)
  end
  if more > 0 then return '!' .. ${OOM} end
end
if isLeft then call('DEL', index) end
call('HSET', state, 'turn', stamp)
for i = deletes, #ARGV do
  if isElsewhere(ARGV[i]) then
    call('HSET', state, ARGV[i], stamp .. '-')
    call('ZADD', index, 0, ARGV[i])
  elseif call('HDEL', state, ARGV[i]) == 1 then
    call('ZREM', index, ARGV[i])
  end
end
for i = first, deletes - 1, 2 do
  if call('HSET', state, ARGV[i], stamp .. ':' .. ARGV[i + 1]) == 1 then
    call('ZADD', index, 0, ARGV[i])
  end
end
return 1`;

/** Gathers fields from each master's state. `unpack` is limited to about 8,000 values. */
const VALUES = `
local CHUNK = 4000
local function values(state, fields, first, last)
  local found = {}
  for i = first, last, CHUNK do
    local j = math.min(i + CHUNK - 1, last)
    for v, value in ipairs(redis.call('HMGET', state, unpack(fields, i, j))) do
      found[i - first + v] = value
    end
  end
  return found
end`;

/**
 * KEYS: the own claim, states. ARGV: the own master's place, epoch and turn that its state must
 * have, fields. Gives the own claim, then each master's values; or a list with the own state's last
 * turn alone, in a list, if that turn is missing.
 */
export const READ: string = `${VALUES}
${LACKS}
local last = redis.call('HGET', KEYS[1 + ARGV[1]], 'turn')
if lacks(last, ARGV[2], ARGV[3]) then return { { last } } end
local reply = { redis.call('GET', KEYS[1]) }
for m = 2, #KEYS do reply[m] = values(KEYS[m], ARGV, 4, #ARGV) end
return reply`;

/**
 * KEYS: a master's state and index. Gives 1 if the state is gone and its index is there, else 0;
 * and the state's last turn.
 */
export const LEFT: string = `
local call = redis.call
local isLost = call('EXISTS', KEYS[1]) == 0 and call('EXISTS', KEYS[2]) or 0
return { isLost, call('HGET', KEYS[1], 'turn') }`;

/**
 * KEYS: the own claim, states, indexes. ARGV: how many masters, command, bound, bound,
 * limit, and as for a read: place, epoch, turn. Gives the own claim, all masters' fields without
 * repeats, each master's fields in the order asked for, each master's values of all the fields;
 * or as a read does.
 *
 * An index that has not as many members as its state has fields is ignored: the script sorts the
 * fields itself. This master's index is rebuilt; other masters write theirs.
 */
export const RANGE: string = `${VALUES}
${LACKS}
local call, sub, byte = redis.call, string.sub, string.byte
local count = tonumber(ARGV[1])
local last = call('HGET', KEYS[1 + ARGV[6]], 'turn')
if lacks(last, ARGV[7], ARGV[8]) then return { { last } } end
local function isBelow(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = byte(a, i), byte(b, i)
    if x ~= y then return x < y end
  end
  return #a < #b
end
local function sorted(state)
  local names = {}
  for _, name in ipairs(call('HKEYS', state)) do
    if sub(name, 1, 1) == ':' then names[#names + 1] = name end
  end
  table.sort(names, isBelow)
  return names
end
local function between(names)
  local isBack = ARGV[2] == 'ZREVRANGEBYLEX'
  local from, to = sub(isBack and ARGV[4] or ARGV[3], 2), sub(isBack and ARGV[3] or ARGV[4], 2)
  local isAfter = sub(isBack and ARGV[4] or ARGV[3], 1, 1) == '('
  local found = {}
  for i = 1, #names do
    local name = names[isBack and #names + 1 - i or i]
    local isIn = isBelow(from, name) or not isAfter and name == from
    if isIn and isBelow(name, to) and #found < tonumber(ARGV[5]) then found[#found + 1] = name end
  end
  return found
end
local function fieldsOf(m)
  local state, index = KEYS[1 + m], KEYS[1 + count + m]
  local members = call('ZCARD', index)
  if call('HLEN', state) == members + call('HEXISTS', state, 'turn') then
    return call(ARGV[2], index, ARGV[3], ARGV[4], 'LIMIT', 0, ARGV[5])
  end
  local names = sorted(state)
  if m == tonumber(ARGV[6]) and #names > 0 then
    call('DEL', index)
    for _, name in ipairs(names) do call('ZADD', index, 0, name) end
  end
  return between(names)
end
local reply, seen, all = { redis.call('GET', KEYS[1]), {} }, {}, {}
for m = 1, count do
  local fields = fieldsOf(m)
  reply[2 + m] = fields
  for _, field in ipairs(fields) do
    if not seen[field] then
      seen[field] = true
      all[#all + 1] = field
    end
  end
end
reply[2] = all
for m = 1, count do reply[2 + count + m] = values(KEYS[1 + m], all, 1, #all) end
return reply`;
