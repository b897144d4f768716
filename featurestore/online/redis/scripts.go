// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"crypto/sha1"
	"encoding/hex"
)

// script is a Lua script. Redis knows it by its SHA-1 once it has run.
type script struct {
	text, sha string
}

func newScript(text string) *script {
	sum := sha1.Sum([]byte(text))
	return &script{text: text, sha: hex.EncodeToString(sum[:])}
}

// All scripts have the record of a bucket as their first key; record.go has its fields.

// versions reads the entities KEYS[from] on into a table that has, for each, its value or
// just its version, false if there is none, and 2 if it is no string. One MGET reads the
// first ones, as many as small says: copying what is small costs less than a call. The
// others are asked for their version if the caller has one.
const versions = `
local function versions(from, small, have)
  local out = {}
  if small > 0 then
    out = redis.call('MGET', unpack(KEYS, from, from + small - 1))
    for i = 1, small do
      if not out[i] then out[i] = redis.call('EXISTS', KEYS[from + i - 1]) == 1 and 2 end
    end
  end
  for i = small + 1, #KEYS - from + 1 do
    local v
    if have(i) == '' then v = redis.pcall('GET', KEYS[from + i - 1])
    else v = redis.pcall('GETRANGE', KEYS[from + i - 1], 0, 15) end
    if v == nil or type(v) == 'table' then v = 2 end
    out[i] = v
  end
  return out
end
`

// readScript returns {{g, n, c}, entity ...}. ARGV is the name of the caller's field c and
// how many entities are small, then for each entity the version that the caller has, or
// nothing. The answer for an entity is 1 if that is current, nil if there is none, 2 if it
// is no string, else its value.
var readScript = newScript(versions + `
local small, out = tonumber(ARGV[2]), {redis.call('HMGET', KEYS[1], 'g', 'n', ARGV[1])}
local found = versions(2, small, function(i) return ARGV[i + 2] end)
for i = 1, #KEYS - 1 do
  local have, v = ARGV[i + 2], found[i]
  if have ~= '' and v and v ~= 2 then
    if string.sub(v, 1, 16) == have then v = 1
    elseif i > small then v = redis.call('GET', KEYS[i + 1]) end
  end
  out[i + 1] = v
end
return out`)

// writeScript writes entities that are at the version expected, and returns {{g, n, c},
// entity ...}. The second key is the turn, the others are entities. ARGV is g, the name
// of the caller's field c, the least n and c that the caller knows of, for how many
// milliseconds the caller takes the turn, nothing if it does not, and how many entities
// are small; then for each entity the version, nothing for none, the value, and for how
// many milliseconds to keep it.
//
// If g is another one, or n or c is less, or it is another's turn, nothing is written, and
// no entity is answered for. The answer for an entity is 1 if it was written, else what
// reading it gives. When all were written the turn ends.
var writeScript = newScript(versions + `
local head = redis.call('HMGET', KEYS[1], 'g', 'n', ARGV[2])
if head[1] ~= ARGV[1] or tonumber(head[2] or '0') < tonumber(ARGV[3])
  or tonumber(head[3] or '0') < tonumber(ARGV[4]) then return {head} end
local turn = redis.call('GET', KEYS[2])
if turn and turn ~= ARGV[2] then return {head} end
if ARGV[5] ~= '' then
  turn = true
  redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[5])
end
local out = {{head[1], redis.call('HINCRBY', KEYS[1], 'n', 1), redis.call('HINCRBY', KEYS[1], ARGV[2], 1)}}
local small = tonumber(ARGV[6])
local found = versions(3, small, function(i) return ARGV[3 * i + 4] end)
for i = 1, #KEYS - 2 do
  local key, v, have, ttl = KEYS[i + 2], found[i], ARGV[3 * i + 4], ARGV[3 * i + 6]
  if v ~= 2 and ((v and have ~= '' and string.sub(v, 1, 16) == have) or (not v and have == '')) then
    if ttl == '0' then redis.call('SET', key, ARGV[3 * i + 5])
    else redis.call('SET', key, ARGV[3 * i + 5], 'PX', ttl) end
    v = 1
  else
    turn = false
    if v and v ~= 2 and i > small then v = redis.call('GET', key) end
  end
  out[i + 1] = v
end
if turn then redis.call('DEL', KEYS[2]) end
return out`)

// revise ends scripts that changed the record: it makes a new g and returns all of it.
const revise = `
redis.call('HSET', KEYS[1], 'g', redis.call('HGET', KEYS[1], 'id') .. '.' .. redis.call('HINCRBY', KEYS[1], 'r', 1))
return redis.call('HGETALL', KEYS[1])`

// loadScript returns the record.
var loadScript = newScript(`return redis.call('HGETALL', KEYS[1])`)

// declareScript says that states were lost. ARGV is the id, n, the name of the field c
// and c that the caller knows of, a new id, and the logs that the caller knows of. It
// does nothing if another said so already: then n is not less, and either c is not, or
// there is another id. n leaps, so that others, who know of more writes, do not say so
// again.
var declareScript = newScript(`
local rec, n, c = KEYS[1], tonumber(ARGV[2]), tonumber(ARGV[4])
local head = redis.call('HMGET', rec, 'id', 'n', ARGV[3])
local now, mine = tonumber(head[2] or '-1'), tonumber(head[3] or '0')
if mine < c then redis.call('HSET', rec, ARGV[3], ARGV[4]) end
if head[1] and now >= n and (mine >= c or head[1] ~= ARGV[1]) then return redis.call('HGETALL', rec) end
redis.call('HSET', rec, 'id', ARGV[5], 'n', string.format('%.0f', math.max(n, now) + 4294967296))
for i = 6, #ARGV do redis.call('HSET', rec, 'm:' .. ARGV[i], '1') end` + revise)

// joinScript makes a log and tables known. ARGV is a new id, in case there is no record,
// the log, an owner if the log is new and empty, and pairs of a table and a name for its
// part of the keys; then expected logs behind the number of pairs.
var joinScript = newScript(`
local rec, changed = KEYS[1], false
if redis.call('HSETNX', rec, 'id', ARGV[1]) == 1 then
  redis.call('HSETNX', rec, 'n', '0')
  changed = true
end
local id, log, pairs = redis.call('HGET', rec, 'id'), ARGV[2], tonumber(ARGV[4])
if changed then
  for i = 5 + 2 * pairs, #ARGV do redis.call('HSET', rec, 'm:' .. ARGV[i], '1') end
end
if log ~= '' and redis.call('HSETNX', rec, 'm:' .. log, '1') == 1 then changed = true end
for i = 5, 4 + 2 * pairs, 2 do
  if redis.call('HSETNX', rec, 't:' .. ARGV[i], ARGV[i + 1]) == 1 then changed = true end
end
if ARGV[3] ~= '' and redis.call('HEXISTS', rec, 'i:' .. log) == 0 then
  redis.call('HSET', rec, 'i:' .. log, ARGV[3])
  for i = 5, 4 + 2 * pairs, 2 do
    redis.call('HSET', rec, 'd:' .. log .. '/' .. ARGV[i], id, 'w:' .. log .. '/' .. ARGV[i], '0')
  end
  changed = true
end
if not changed then return redis.call('HGETALL', rec) end` + revise)

// beginScript notes that tables are computed from a log out of order, and clears those of
// which an earlier attempt may have left a part: they get a new part of the keys, and
// every log has to bring its events again. ARGV is g, the log, a name for the attempt,
// and pairs of a table and a name for its part of the keys.
var beginScript = newScript(`
local rec = KEYS[1]
if redis.call('HGET', rec, 'g') ~= ARGV[1] then return redis.call('HGETALL', rec) end
local all = redis.call('HKEYS', rec)
for i = 4, #ARGV, 2 do
  local mine, tail = 'b:' .. ARGV[2] .. '/' .. ARGV[i], '/' .. ARGV[i]
  if redis.call('HEXISTS', rec, mine) == 1 then
    redis.call('HSET', rec, 't:' .. ARGV[i], ARGV[i + 1])
    for _, f in ipairs(all) do
      local kind = f:sub(1, 2)
      if (kind == 'd:' or kind == 'w:' or kind == 'b:') and f:sub(-#tail) == tail then redis.call('HDEL', rec, f) end
    end
  end
  redis.call('HSET', rec, mine, ARGV[3])
end` + revise)

// doneScript notes that all of a log up to a sequence is in the tables, and who writes
// from now on. ARGV is g, the log, the owner, the sequence, the tables.
var doneScript = newScript(`
local rec = KEYS[1]
if redis.call('HGET', rec, 'g') ~= ARGV[1] then return redis.call('HGETALL', rec) end
local id, log = redis.call('HGET', rec, 'id'), ARGV[2]
local before = redis.call('HGET', rec, 'i:' .. log)
if before and before ~= ARGV[3] then redis.call('HDEL', rec, 'c:' .. before) end
redis.call('HSET', rec, 'i:' .. log, ARGV[3])
for i = 5, #ARGV do
  local tail = log .. '/' .. ARGV[i]
  redis.call('HSET', rec, 'd:' .. tail, id, 'w:' .. tail, ARGV[4])
  redis.call('HDEL', rec, 'b:' .. tail)
end` + revise)

// markScript notes a sequence up to which a replay has nothing to do. ARGV is as for
// doneScript. It returns 1, or 0 if g is not the current one.
var markScript = newScript(`
local rec = KEYS[1]
if redis.call('HGET', rec, 'g') ~= ARGV[1] then return 0 end
for i = 5, #ARGV do redis.call('HSET', rec, 'w:' .. ARGV[2] .. '/' .. ARGV[i], ARGV[4]) end
return 1`)

// unloggedScript makes known that events are written which no log has: a loss of them is
// for good. ARGV is g and the tables.
var unloggedScript = newScript(`
local rec = KEYS[1]
if redis.call('HGET', rec, 'g') ~= ARGV[1] then return redis.call('HGETALL', rec) end
redis.call('HSET', rec, 'm:', '1')
for i = 2, #ARGV do redis.call('HSET', rec, 'd:/' .. ARGV[i], redis.call('HGET', rec, 'id')) end` + revise)

// forgetScript takes a log out. ARGV is the log.
var forgetScript = newScript(`
local rec = KEYS[1]
if redis.call('HDEL', rec, 'm:' .. ARGV[1]) == 0 then return redis.call('HGETALL', rec) end
for _, f in ipairs(redis.call('HKEYS', rec)) do
  local kind, begin = f:sub(1, 2), ARGV[1] .. '/'
  if (kind == 'd:' or kind == 'w:' or kind == 'b:') and f:sub(3, 2 + #begin) == begin then redis.call('HDEL', rec, f) end
end
redis.call('HDEL', rec, 'i:' .. ARGV[1])` + revise)

// discardScript gives up what a log has in the tables, and with it the tables, which all
// logs have to bring their events into again. ARGV is g, the log and the tables.
var discardScript = newScript(`
local rec = KEYS[1]
if redis.call('HGET', rec, 'g') ~= ARGV[1] then return redis.call('HGETALL', rec) end
for i = 3, #ARGV do
  local tail = ARGV[2] .. '/' .. ARGV[i]
  redis.call('HDEL', rec, 'd:' .. tail, 'w:' .. tail)
  redis.call('HSET', rec, 'b:' .. tail, 'discarded')
end` + revise)
