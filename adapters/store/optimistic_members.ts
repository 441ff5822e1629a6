/**
 * The Lua of membership with several masters: a roll at each, and on each roll's margin
 * what its keeper heard of members of other rolls.
 *
 * A member is on the roll of the master that it registered at, its home; that master alone
 * renews it. A kill is a mark at the killer's master. A member's state is the worst that
 * its roll or any mark says, so that dead stays dead everywhere once word got around.
 *
 * Keys of the n-th master, each written by it alone: `atlas:{members}:<kind>/<master>`.
 */

/** Kinds of keys that every master's roll has, in the order in which scripts take them. */
const KINDS = ["info", "seq", "state", "name", "version", "mark"] as const;

/** The keys of the membership scripts, as the `own`-th of `names` uses them. */
export function memberKeys(names: readonly string[], own: number): string[] {
  const of = (kind: string, name: string | undefined): string => `atlas:{members}:${kind}/${name}`;
  const all = names.flatMap((name) => KINDS.map((kind) => of(kind, name)));
  return [...all, of("ended", names[own]), of("pruned", names[own])];
}

/** ARGV: own master's place from 1, how many masters. */
const ROLLS = `
local call = redis.call
local own, count = tonumber(ARGV[1]), tonumber(ARGV[2])
local INFO, SEQ, STATE, NAME, VERSION, MARK = 1, 2, 3, 4, 5, 6
local function at(m, kind) return KEYS[(m - 1) * 6 + kind] end
local ended, pruned = KEYS[count * 6 + 1], KEYS[count * 6 + 2]
local rank = { live = 0, superseded = 1, dead = 2, left = 2 }
local function version()
  local sum = 0
  for m = 1, count do sum = sum + tonumber(call('GET', at(m, VERSION)) or 0) end
  return sum
end
local function changed() call('INCR', at(own, VERSION)) end
local function home(inc)
  for m = 1, count do
    if call('HEXISTS', at(m, INFO), inc) == 1 then return m end
  end
end
local function state(inc, m)
  local worst = call('HGET', at(m, STATE), inc) or 'live'
  for i = 1, count do
    local mark = call('HGET', at(i, MARK), inc)
    if mark and rank[mark] > rank[worst] then worst = mark end
  end
  return worst
end
local function finish(inc, how)
  local told = cjson.decode(call('HGET', at(own, INFO), inc))
  local name = told.region .. '/' .. told.node
  if call('HGET', at(own, NAME), name) == inc then call('HDEL', at(own, NAME), name) end
  call('HSET', at(own, STATE), inc, how)
  call('RPUSH', ended, inc)
  changed()
end
local function worsen(inc, m, how)
  if m ~= own then
    call('HSET', at(own, MARK), inc, how)
    changed()
  elseif rank[how] == 2 then
    if rank[call('HGET', at(own, STATE), inc)] < 2 then finish(inc, how) end
  else
    call('HSET', at(own, STATE), inc, how)
  end
end`;

/**
 * ARGV: own, masters, incarnation, `<region>/<node>`, the member as JSON, "1" if only if
 * free, dead to keep, a version of membership seen before. Gives outcome and version, as
 * the script of one master does. Writes down on the own roll, too, what others marked there,
 * and forgets marks of members that no roll has any more.
 */
export const REGISTER_AT: string = `${ROLLS}
local inc, name = ARGV[3], ARGV[4]
local m = home(inc)
if m then return { state(inc, m) == 'live' and 'registered' or 'fenced', version() } end
if tonumber(ARGV[8]) < tonumber(call('GET', pruned) or 0) then return { 'stale', version() } end
local rivals = {}
for i = 1, count do
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
for i = 1, count do
  local marks = call('HGETALL', at(i, MARK))
  for j = 1, #marks, 2 do
    local on = home(marks[j])
    if on == own and rank[marks[j + 1]] == 2 then worsen(marks[j], own, marks[j + 1]) end
    if not on and i == own then call('HDEL', at(own, MARK), marks[j]) end
  end
end
while call('LLEN', ended) > tonumber(ARGV[7]) do
  local old = call('LPOP', ended)
  call('HDEL', at(own, INFO), old)
  call('HDEL', at(own, SEQ), old)
  call('HDEL', at(own, STATE), old)
  call('SET', pruned, version())
end
return { 'registered', version() }`;

/** ARGV: own, masters, incarnation, seq, watched incarnations. Gives what RENEW does. */
export const RENEW_AT: string = `${ROLLS}
local inc = ARGV[3]
local m = home(inc)
local now = m and state(inc, m)
if m == own and now == 'live' and tonumber(ARGV[4]) > tonumber(call('HGET', at(own, SEQ), inc)) then
  call('HSET', at(own, SEQ), inc, ARGV[4])
end
local reply = { now or false, version() }
for i = 5, #ARGV do
  local on = home(ARGV[i])
  if on then
    reply[#reply + 1] = ARGV[i]
    reply[#reply + 1] = call('HGET', at(on, SEQ), ARGV[i]) or '0'
    reply[#reply + 1] = state(ARGV[i], on)
  end
end
return reply`;

/** ARGV: own, masters, incarnation, the seq seen. Gives a list of the state afterwards, or of nil. */
export const KILL_AT: string = `${ROLLS}
local inc = ARGV[3]
local m = home(inc)
if not m then return { false } end
local now = state(inc, m)
if rank[now] < 2 and (call('HGET', at(m, SEQ), inc) or '0') == ARGV[4] then
  worsen(inc, m, 'dead')
  return { 'dead' }
end
return { now }`;

/** ARGV: own, masters, incarnation, the member as JSON. Gives a list of `left`. */
export const LEAVE_AT: string = `${ROLLS}
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

/** ARGV: own, masters. Gives version, then three flat lists: members as JSON, seqs, states. */
export const MEMBERS_AT: string = `${ROLLS}
local infos, seqs, states = {}, {}, {}
for m = 1, count do
  local found = call('HGETALL', at(m, INFO))
  for i = 1, #found, 2 do
    local inc, n = found[i], #infos
    infos[n + 1], infos[n + 2] = inc, found[i + 1]
    seqs[n + 1], seqs[n + 2] = inc, call('HGET', at(m, SEQ), inc) or '0'
    states[n + 1], states[n + 2] = inc, state(inc, m)
  end
end
return { version(), infos, seqs, states }`;
