--[[ handback: a worker that leaves gives up what it did not finish, so that the next sweep takes it at once.

KEYS 1 events stream
ARGV 1 group   2 consumer   3 name of the consumer that stands for nobody   4 idle_ms to show   5... entry ids
Returns how many were handed back
--]]
local handed = 0
for at = 5, #ARGV do
  local id = ARGV[at]
  local held = redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1, ARGV[2])
  if held[1] then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[3], 0, id, 'IDLE', ARGV[4], 'JUSTID')
    handed = handed + 1
  end
end
return handed
