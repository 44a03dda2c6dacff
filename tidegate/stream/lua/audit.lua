--[[ audit: one consistent look at one shard.

KEYS 1 events stream   2 retry stream   3 due   4 ledger   5 epoch
ARGV 1 group
Returns {ledger as name, value..., XLEN events, XLEN retry, pending, ZCARD due, oldest id on events or '', oldest id on retry or '', now_ms,
         epoch or ''}
--]]
local now = redis.call('TIME')
local summary = redis.pcall('XPENDING', KEYS[1], ARGV[1])
local oldest_event = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)
local oldest_retry = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)
return {
  redis.call('HGETALL', KEYS[4]),
  redis.call('XLEN', KEYS[1]),
  redis.call('XLEN', KEYS[2]),
  summary.err and 0 or summary[1],
  redis.call('ZCARD', KEYS[3]),
  oldest_event[1] and oldest_event[1][1] or '',
  oldest_retry[1] and oldest_retry[1][1] or '',
  now[1] * 1000 + math.floor(now[2] / 1000),
  redis.call('GET', KEYS[5]) or '',
}
