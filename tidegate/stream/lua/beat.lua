--[[ beat: a worker renews the lease of what it still holds.

KEYS 1 events stream
ARGV 1 group   2 consumer   3... entry ids
Returns the ids that are no longer this consumer's: claimed by another, or settled

XCLAIM alone would take an entry back from the worker that claimed it; hence the look at the owner first. JUSTID keeps
the delivery count, which is evidence against an entry, as it is.
An entry whose content somebody deleted is not renewed: XCLAIM would drop it from the list (from Redis 7 on), uncounted.
Sent twice, it renews twice.
--]]
local lost = {}
for at = 3, #ARGV do
  local id = ARGV[at]
  local held = redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1, ARGV[2])
  if not held[1] then
    lost[#lost + 1] = id
  elseif redis.call('XRANGE', KEYS[1], id, id)[1] then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, id, 'JUSTID')
  end
end
return lost
