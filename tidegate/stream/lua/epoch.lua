--[[ epoch: names this life of the shard's data, which ends when somebody empties Redis.

KEYS 1 epoch
ARGV 1 the name, if it has none yet
Returns the epoch: name and the time it was given in Unix milliseconds, with a blank between

Sent twice, the second call finds the first one's.
--]]
local now = redis.call('TIME')
redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. string.format('%d', now[1] * 1000 + math.floor(now[2] / 1000)), 'NX')
return redis.call('GET', KEYS[1])
