--[[ release: a parent has appeared, or a source was resumed, so what waits for it is due now.

KEYS 1 the parent's waiting set, or the source's held set   2 due
ARGV 1 at most this many
Returns how many were taken from the set; call again while it equals ARGV 1

An id whose entry has left the retry stream meanwhile is no longer in due, and XX keeps it out.
--]]
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
local waiting = redis.call('SPOP', KEYS[1], tonumber(ARGV[1]))
local due = {}
for _, id in ipairs(waiting) do
  due[#due + 1] = now_ms
  due[#due + 1] = id
end
if #due > 0 then redis.call('ZADD', KEYS[2], 'XX', unpack(due)) end -- one command: each is written to the log by itself
return #waiting
