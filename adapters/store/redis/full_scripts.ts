/**
 * Lua that the scripts share for a Redis whose memory is full (`maxmemory` with `noeviction`).
 * Redis refuses a command that may need memory only as the first write of a script, so it would be
 * chance whether it accepts a later step of a batch. A script that writes therefore tests first, by
 * a command that changes nothing; from then on Redis accepts all writes of the script. The script
 * itself refuses steps that would make a state grow, before it writes.
 *
 * Source: Redis, `scriptVerifyOOM` (7) and `luaRedisGenericCommand` (6.2); the same in Valkey.
 */

/**
 * `ready(key)`: has Redis accept all writes of this script. The key MUST be one without TTL, so
 * that nothing changes.
 */
export const READY: string = `
local function ready(key) redis.pcall('PERSIST', key) end`;

/**
 * `full(key)`: whether the memory is full; if so, Redis takes all writes of this script from then
 * on. MUST run before the script has written anything, with a key that holds text, or nothing.
 */
export const FULL: string = `${READY}
local isFull
local function full(key)
  if isFull == nil then
    local reply = redis.pcall('SETRANGE', key, 0, '')
    local err = type(reply) == 'table' and reply.err
    isFull = err and string.find(err, 'OOM', 1, true) ~= nil or false
    if isFull then ready(key) end
  end
  return isFull
end`;

/** The reply to a step that a script refuses because the memory is full. */
export const OOM: string = `'OOM the memory is full, and this would take more of it'`;

/** Bytes that a field takes besides its name (stored twice) and its value, roughly. */
const FIELD_BYTES = 128;

/** `size(state, field, value)`: by how many bytes a write makes a state grow; nil deletes. */
export const SIZE: string = `
local function size(state, field, value)
  local old = redis.call('HSTRLEN', state, field)
  local isThere = old > 0 or redis.call('HEXISTS', state, field) == 1
  local before = isThere and ${FIELD_BYTES} + 2 * #field + old or 0
  return (value and ${FIELD_BYTES} + 2 * #field + #value or 0) - before
end`;
