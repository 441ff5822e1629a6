/**
 * The Lua of membership with several masters. Each master keeps the members that registered at it,
 * and its own marks about members of the others.
 *
 * A member's home is the master at which it registered; only that master renews it. A kill is a
 * mark at the killer's master. A member's state is the worst state that its home or any mark
 * reports, so a dead member stays dead everywhere once the mark has been copied.
 *
 * Keys of the n-th master, each written by it alone: `atlas:{members}:<kind>/<master>`.
 */
import { READY } from "../redis/full_scripts.ts";
import { MAX_PRUNED, READING } from "../redis/membership_scripts.ts";

/** Kinds of membership keys of each master, in the order in which scripts take them. */
const KINDS = ["info", "seq", "state", "name", "version", "mark"] as const;

/** The keys of the membership scripts, as the `own`-th of `names` uses them. */
export function memberKeys(names: readonly string[], own: number): string[] {
  const of = (kind: string, name: string | undefined): string => `atlas:{members}:${kind}/${name}`;
  const all = names.flatMap((name) => KINDS.map((kind) => of(kind, name)));
  return [...all, of("ended", names[own]), of("pruned", names[own])];
}

/** ARGV: own master's place from 1, how many masters. */
const MEMBERS = `
${READING}
${READY}
local own, masters = tonumber(ARGV[1]), tonumber(ARGV[2])
local INFO, SEQ, STATE, NAME, VERSION, MARK = 1, 2, 3, 4, 5, 6
local function at(m, kind) return KEYS[(m - 1) * 6 + kind] end
local ended, pruned = KEYS[masters * 6 + 1], KEYS[masters * 6 + 2]
local rank = { live = 0, superseded = 1, dead = 2, left = 2 }
local function counter(key)
  local text = redis.pcall('GET', key)
  return not text and 0 or count(text)
end
local function version()
  local sum = 0
  for m = 1, masters do
    sum = sum + (counter(at(m, VERSION)) or m == own and counter(pruned) or 0)
  end
  return sum
end
local function changed()
  call('SET', at(own, VERSION), whole((counter(at(own, VERSION)) or counter(pruned) or 0) + 1))
end
local function home(inc)
  for m = 1, masters do
    if call('HEXISTS', at(m, INFO), inc) == 1 or call('HEXISTS', at(m, STATE), inc) == 1 then
      return m
    end
  end
end
local function state(inc, m)
  local worst = stateIn(at(m, STATE), inc) or 'live'
  for i = 1, masters do
    local mark = call('HGET', at(i, MARK), inc)
    if mark and rank[mark] and rank[mark] > rank[worst] then worst = mark end
  end
  return worst
end
local function finish(inc, how)
  unname(at(own, NAME), at(own, INFO), inc)
  call('HSET', at(own, STATE), inc, how)
  call('RPUSH', ended, inc)
  changed()
end
local function worsen(inc, m, how)
  if m ~= own then
    call('HSET', at(own, MARK), inc, how)
    changed()
  elseif rank[how] == 2 then
    if rank[stateIn(at(own, STATE), inc) or 'live'] < 2 then finish(inc, how) end
  else
    call('HSET', at(own, STATE), inc, how)
  end
end`;

/**
 * ARGV: own, masters, incarnation, `<region>/<node>`, the member as JSON, "1" if only if
 * free, dead to keep, a version of membership seen before. Gives outcome and version, as
 * the script of one master does. Copies marks of other masters into the own members, and deletes
 * marks of members that no master has any more.
 */
export const REGISTER_AT: string = `${MEMBERS}
ready(at(own, STATE))
local inc, name = ARGV[3], ARGV[4]
local m = home(inc)
if m then
  if state(inc, m) ~= 'live' then return { 'fenced', version() } end
  if m == own and call('HGET', at(own, INFO), inc) ~= ARGV[5] then
    call('HSET', at(own, INFO), inc, ARGV[5])
    changed()
  end
  return { 'registered', version() }
end
if tonumber(ARGV[8]) < math.min(counter(pruned) or version(), version()) then
  return { 'stale', version() }
end
local rivals = {}
for i = 1, masters do
  local rival = call('HGET', at(i, NAME), name)
  if rival and state(rival, i) == 'live' then
    if ARGV[6] == '1' then return { 'name_taken', version() } end
    rivals[#rivals + 1] = { rival, i }
  end
end
for _, rival in ipairs(rivals) do worsen(rival[1], rival[2], 'superseded') end
call('HSET', at(own, INFO), inc, ARGV[5])
call('HSET', at(own, SEQ), inc, 0)
call('HSET', at(own, STATE), inc, 'live')
call('HSET', at(own, NAME), name, inc)
changed()
for i = 1, masters do
  local marks = call('HGETALL', at(i, MARK))
  for j = 1, #marks, 2 do
    local on = home(marks[j])
    if on == own and rank[marks[j + 1]] == 2 then worsen(marks[j], own, marks[j + 1]) end
    if not on and i == own then call('HDEL', at(own, MARK), marks[j]) end
  end
end
for i = 1, ${MAX_PRUNED} do
  if call('LLEN', ended) <= tonumber(ARGV[7]) then break end
  local old = call('LPOP', ended)
  if rank[stateIn(at(own, STATE), old) or 'live'] == 2 then
    call('HDEL', at(own, INFO), old)
    call('HDEL', at(own, SEQ), old)
    call('HDEL', at(own, STATE), old)
    call('SET', pruned, version())
  end
end
return { 'registered', version() }`;

/** ARGV: own, masters, incarnation, seq, watched incarnations. Gives what RENEW does. */
export const RENEW_AT: string = `${MEMBERS}
ready(at(own, STATE))
local inc = ARGV[3]
local m = home(inc)
local now = m and state(inc, m)
if m == own and now == 'live' and tonumber(ARGV[4]) > tonumber(seqIn(at(own, SEQ), inc)) then
  call('HSET', at(own, SEQ), inc, ARGV[4])
end
local reply = { now or false, version() }
for i = 5, #ARGV do
  local on = home(ARGV[i])
  if on then
    reply[#reply + 1] = ARGV[i]
    reply[#reply + 1] = seqIn(at(on, SEQ), ARGV[i])
    reply[#reply + 1] = state(ARGV[i], on)
  end
end
return reply`;

/**
 * ARGV: own, masters, incarnation, the seq seen. Gives a list of the state afterwards, or of nil.
 */
export const KILL_AT: string = `${MEMBERS}
ready(at(own, STATE))
local inc = ARGV[3]
local m = home(inc)
if not m then return { false } end
local now = state(inc, m)
if rank[now] < 2 and seqIn(at(m, SEQ), inc) == ARGV[4] then
  worsen(inc, m, 'dead')
  return { 'dead' }
end
return { now }`;

/** ARGV: own, masters, incarnation, the member as JSON. Gives a list of `left`. */
export const LEAVE_AT: string = `${MEMBERS}
ready(at(own, STATE))
local inc = ARGV[3]
local m = home(inc)
if not m then
  call('HSET', at(own, INFO), inc, ARGV[4])
  call('HSET', at(own, SEQ), inc, 0)
  call('HSET', at(own, STATE), inc, 'live')
  m = own
end
if rank[state(inc, m)] < 2 or m == own then worsen(inc, m, 'left') end
return { 'left' }`;

/**
 * ARGV: own, masters, the bytes that a member's row may have; a longer one is given as "".
 * Gives version, then three flat lists: members as JSON, seqs, states.
 */
export const MEMBERS_AT: string = `${MEMBERS}
local infos, seqs, states = {}, {}, {}
local function tell(m, inc, info)
  if info then
    infos[#infos + 1] = inc
    infos[#infos + 1] = info
  end
  local n = #seqs
  seqs[n + 1], seqs[n + 2] = inc, call('HGET', at(m, SEQ), inc) or '0'
  local kept = call('HGET', at(m, STATE), inc)
  states[n + 1], states[n + 2] = inc, kept and not STATES[kept] and kept or state(inc, m)
end
for m = 1, masters do
  local found = fetched(call('HGETALL', at(m, INFO)), tonumber(ARGV[3]))
  for i = 1, #found, 2 do tell(m, found[i], found[i + 1]) end
  for _, inc in ipairs(call('HKEYS', at(m, STATE))) do
    if call('HEXISTS', at(m, INFO), inc) == 0 then tell(m, inc, nil) end
  end
end
return { version(), infos, seqs, states }`;
