--[[ verified: gates tell which secrets they hold, and which of them verified how often.

KEYS 1 secret uses
ARGV 1 now_ms, then seven a secret: source, mark, label, count since told last, how many of those we sent ourselves,
     first_ms and last_ms of the others (any where there are none)
Returns nothing

Several gates tell of the same secret, and one that had no Redis for a while tells late: the oldest and the newest time win,
so none of them can make a secret look longer unused than it is. Sent twice, a count is too high by what was sent.
--]]
local key, now_ms = KEYS[1], ARGV[1]
local function newest(field, ms)
  if tonumber(ms) > (tonumber(redis.call('HGET', key, field)) or 0) then
    redis.call('HSET', key, field, ms)
  end
end
for at = 2, #ARGV, 7 do
  local source, id = ARGV[at], ARGV[at] .. ':' .. ARGV[at + 1]
  redis.call('HSETNX', key, 'known_ms:' .. id, now_ms)
  redis.call('HSET', key, 'label:' .. id, ARGV[at + 2])
  newest('held_ms:' .. id, now_ms)
  local count, own, first_ms, last_ms = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4]), ARGV[at + 5], ARGV[at + 6]
  if count > 0 then
    redis.call('HINCRBY', key, 'count:' .. id, count)
  end
  -- What we sent to try a source says nothing of what its provider signs with: a test an hour would look like its traffic.
  if count > own then
    redis.call('HINCRBY', key, 'total:' .. source, count - own)
    local before_ms = tonumber(redis.call('HGET', key, 'last_ms:' .. id))
    if before_ms then
      -- The longest silence that it came back from: who is used once a week is not out of use after three days.
      local silence_ms = tonumber(first_ms) - before_ms
      if silence_ms > (tonumber(redis.call('HGET', key, 'silence_ms:' .. id)) or 0) then
        redis.call('HSET', key, 'silence_ms:' .. id, string.format('%.0f', silence_ms))
      end
    end
    local oldest_ms = tonumber(redis.call('HGET', key, 'first_ms:' .. id))
    if not oldest_ms or tonumber(first_ms) < oldest_ms then
      redis.call('HSET', key, 'first_ms:' .. id, first_ms)
    end
    newest('last_ms:' .. id, last_ms)
  end
end
-- Only now, when all of this call are counted: what came in the same second did not come after it.
for at = 2, #ARGV, 7 do
  local total = redis.call('HGET', key, 'total:' .. ARGV[at]) or '0'
  local set = tonumber(ARGV[at + 3]) > tonumber(ARGV[at + 4]) and 'HSET' or 'HSETNX'
  redis.call(set, key, 'total_then:' .. ARGV[at] .. ':' .. ARGV[at + 1], total)
end
