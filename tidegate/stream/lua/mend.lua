--[[ mend: entries on the retry stream that have no due time, as after somebody deleted `due`, are due now.

KEYS 1 retry stream   2 due
ARGV 1 after this id ('': from the first)   2 look at about this many   3 look no further once this many bytes were read
Returns {mended, id to go on after or '' at the end}

Sent twice, the second call finds them due.
--]]
-- Reading a million entries to find that all is well would be felt. One of each kind of damage at once hides here until
-- the due time without an entry has come, and `reenter` has removed it.
if ARGV[1] == '' and redis.call('XLEN', KEYS[1]) == redis.call('ZCARD', KEYS[2]) then return {0, ''} end
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
local count_max, bytes_max, chunk = tonumber(ARGV[2]), tonumber(ARGV[3]), 8
local last, count, bytes, mended = ARGV[1], 0, 0, 0
while count < count_max and bytes < bytes_max do
  local entries = redis.call('XRANGE', KEYS[1], last == '' and '-' or '(' .. last, '+', 'COUNT', chunk)
  for _, entry in ipairs(entries) do
    for _, part in ipairs(entry[2]) do bytes = bytes + #part end
    mended = mended + redis.call('ZADD', KEYS[2], 'NX', now_ms, entry[1])
    last = entry[1]
  end
  if #entries < chunk then return {mended, ''} end
  count = count + #entries
end
return {mended, last}
