/**
 * The Lua of membership in one Redis: registration, renewal, kill and leave, and the lineage of
 * the data. Each script is one atomic step over the keys `MEMBER_KEYS`.
 *
 * They take and give lists of text. A row that can't be read is never an error: it is left out,
 * repaired, or counts as a value that is safe (`member_rows.ts`).
 *
 * Source: `docs/design.md`, Membership and leases; Store failover.
 */
import { MAX_TERM } from "../check.ts";
import { READY } from "./full_scripts.ts";

/**
 * `copy()`: the replication id of the copy of the data that answers; it changes when a replica is
 * promoted, and when a server starts. Empty if a Redis doesn't report it.
 */
export const COPY: string = `
local function copy()
  local info = redis.pcall('INFO', 'replication')
  return type(info) == 'string' and string.match(info, 'master_replid:(%w+)') or ''
end`;

/**
 * How the membership scripts read rows that other programs may have written: a count that isn't a
 * number of at most 15 digits counts as absent; an invalid state counts as `superseded`
 * (`member_rows.ts`).
 */
export const READING: string = `
local call = redis.call
local STATES = { live = true, superseded = true, dead = true, left = true }
local function count(text)
  return type(text) == 'string' and #text <= 15 and string.match(text, '^%d+$') and tonumber(text)
end
local function whole(n) return string.format('%.0f', n) end
local function stateIn(key, inc)
  local state = call('HGET', key, inc)
  return state and (STATES[state] and state or 'superseded')
end
local function seqIn(key, inc) return whole(count(call('HGET', key, inc)) or 0) end
local function unname(names, info, inc)
  local ok, member = pcall(cjson.decode, call('HGET', info, inc) or '')
  local region, node
  if ok and type(member) == 'table' then region, node = member.region, member.node end
  if type(region) == 'string' and type(node) == 'string' then
    local name = region .. '/' .. node
    if call('HGET', names, name) == inc then call('HDEL', names, name) end
  else
    local all = call('HGETALL', names)
    for i = 1, #all, 2 do
      if all[i + 1] == inc then call('HDEL', names, all[i]) end
    end
  end
end
local function fetched(infos, limit)
  for i = 2, #infos, 2 do
    if #infos[i] > limit then infos[i] = '' end
  end
  return infos
end`;

/** The largest number of ended members that one registration prunes. */
export const MAX_PRUNED = 256;

/** What the membership scripts share; their keys are those of `MEMBER_KEYS`, in order. */
const MEMBERSHIP = `
local info, seqs, states, names, ended, versions, pruned, lineage = unpack(KEYS)
${READING}
${COPY}
${READY}
local function present(copies)
  local id = copy()
  if copies == '' then return id end
  if not string.find(copies, id, 1, true) then
    error('the copy ' .. id .. ' answers, but the caller does not know of it yet')
  end
  return copies
end
local function counter(key)
  local text = redis.pcall('GET', key)
  return not text and 0 or count(text)
end
local function version() return counter(versions) or counter(pruned) or 0 end
local function changed()
  local now = version() + 1
  call('SET', versions, whole(now))
  return now
end
local function finish(inc, state)
  unname(names, info, inc)
  call('HSET', states, inc, state)
  call('RPUSH', ended, inc)
  changed()
end`;

/**
 * Compares the lineage's record with the copy that answers and with what the caller knows
 * (`lineage.ts` says the same): the id and term that it knows, both "" if it knows none, "1" if it
 * has waited, "1" if there are replicas, and the ids of all copies if the data are spread over
 * several servers ("" if they aren't): this one's own MUST be one of them, and they are the id
 * then. Gives id, term and "1" if settled. A record whose term isn't a number of at most 5 digits
 * counts as absent.
 */
const MEET = `
local function meet(theirs, since, waited, replicas, copies)
  local id, known = present(copies), tonumber(since)
  local record = call('HMGET', lineage, 'id', 'term', 'settled')
  local term, settled = count(record[2] or '0'), record[3]
  if not term or term > ${MAX_TERM} then record, term = {}, 0 end
  if not record[1] then
    term = known and known + 1 or 0
    settled = (known or replicas == '1') and '0' or '1'
  elseif record[1] ~= id then
    term, settled = math.max(term, known or 0) + 1, '0'
  elseif known and (known > term or theirs ~= id and known == term) then
    term, settled = known + 1, '0'
  elseif theirs == id and known == term and waited == '1' then
    settled = '1'
  end
  if settled ~= '1' then settled = '0' end
  if record[1] ~= id or record[3] ~= settled or record[2] ~= whole(term) then
    call('HSET', lineage, 'id', id, 'term', whole(term), 'settled', settled)
  end
  return id, term, settled
end`;

/**
 * ARGV: incarnation, `<region>/<node>`, the member as JSON, "1" if only if free, dead to
 * keep, a version of membership seen before this registration was first sent, and five of
 * the lineage. Gives the outcome, the version, and three of the lineage.
 *
 * A registration may be repeated by the network long after its member is dead and even pruned, and
 * must not bring it back to life: `stale` if members were pruned since the version seen, so that
 * this may be one of them. A name's holder counts only while it is live, and a member that isn't
 * dead is never pruned, whatever its row holds. If the row of a live member differs from what it
 * registers, the row is written again.
 */
export const REGISTER: string = `${MEMBERSHIP}${MEET}
ready(states)
local inc, name = ARGV[1], ARGV[2]
local state = stateIn(states, inc)
local id, term, settled = meet(ARGV[7], ARGV[8], ARGV[9], ARGV[10], ARGV[11])
local function reply(outcome) return { outcome, version(), id, term, settled } end
if state then
  if state ~= 'live' then return reply('fenced') end
  if call('HGET', info, inc) ~= ARGV[3] then
    call('HSET', info, inc, ARGV[3])
    changed()
  end
  return reply('registered')
end
if tonumber(ARGV[6]) < math.min(counter(pruned) or version(), version()) then return reply('stale') end
local rival = call('HGET', names, name)
if rival and stateIn(states, rival) == 'live' then
  if ARGV[4] == '1' then return reply('name_taken') end
  call('HSET', states, rival, 'superseded')
end
call('HSET', info, inc, ARGV[3])
call('HSET', seqs, inc, 0)
call('HSET', states, inc, 'live')
call('HSET', names, name, inc)
local now = changed()
for i = 1, ${MAX_PRUNED} do
  if call('LLEN', ended) <= tonumber(ARGV[5]) then break end
  local old = call('LPOP', ended)
  local over = stateIn(states, old)
  if over == 'dead' or over == 'left' then
    call('HDEL', info, old)
    call('HDEL', seqs, old)
    call('HDEL', states, old)
    call('SET', pruned, now)
  end
end
return reply('registered')`;

/**
 * ARGV: incarnation, seq, five of the lineage, watched incarnations. Gives state, version,
 * three of the lineage, then incarnation, seq and state of each that is known.
 */
export const RENEW: string = `${MEMBERSHIP}${MEET}
ready(states)
local inc = ARGV[1]
local state = stateIn(states, inc)
if state == 'live' and tonumber(ARGV[2]) > tonumber(seqIn(seqs, inc)) then
  call('HSET', seqs, inc, ARGV[2])
end
local reply = { state, version(), meet(ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7]) }
for i = 8, #ARGV do
  local seen = stateIn(states, ARGV[i])
  if seen then
    reply[#reply + 1] = ARGV[i]
    reply[#reply + 1] = seqIn(seqs, ARGV[i])
    reply[#reply + 1] = seen
  end
end
return reply`;

/** ARGV: incarnation, the seq seen. Gives a list of the state afterwards, or of nil. */
export const KILL: string = `${MEMBERSHIP}
ready(states)
local inc = ARGV[1]
local state = stateIn(states, inc)
if (state == 'live' or state == 'superseded') and seqIn(seqs, inc) == ARGV[2] then
  finish(inc, 'dead')
  return { 'dead' }
end
return { state }`;

/** ARGV: incarnation, the member as JSON. Gives a list of `left`. */
export const LEAVE: string = `${MEMBERSHIP}
ready(states)
local inc = ARGV[1]
local state = stateIn(states, inc)
if not state then
  call('HSET', info, inc, ARGV[2])
  call('HSET', seqs, inc, 0)
end
if not state or state == 'live' or state == 'superseded' then finish(inc, 'left') end
return { 'left' }`;

/**
 * ARGV: the ids of all copies, as for `MEET`, and the bytes that a member's row may have; a
 * longer one is given as "". Gives version, then three flat lists: members as JSON, seqs,
 * states; and the lineage's id.
 */
export const MEMBERS: string = `${MEMBERSHIP}
local function all(key) return fetched(call('HGETALL', key), tonumber(ARGV[2])) end
return { version(), all(info), all(seqs), all(states), present(ARGV[1]) }`;

/** The keys of the membership scripts: one hash tag, so one slot of a cluster. */
export const MEMBER_KEYS: readonly string[] = [
  "atlas:{members}:info",
  "atlas:{members}:seq",
  "atlas:{members}:state",
  "atlas:{members}:name",
  "atlas:{members}:ended",
  "atlas:{members}:version",
  "atlas:{members}:pruned",
  "atlas:{members}:lineage",
];
