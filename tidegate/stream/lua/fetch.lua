--[[ fetch: new entries for one consumer, bounded by count and by bytes.

KEYS 1 events stream
ARGV 1 group   2 consumer   3 at most this many   4 no more once this many bytes are reached   5 entries read at once, at most
Returns entries as XREADGROUP does: {id, {name, value...}}

XREADGROUP knows no limit in bytes, so it is asked for as many as would fit were they as large as the largest so far. When
larger ones follow, what goes beyond the limit is less than ARGV 5 of them.
Not to be sent twice: entries of a lost answer are pending for the consumer, who must learn of them by `own`.
--]]
local wanted, bytes_max, chunk = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local found, count, bytes, largest = {}, 0, 0, bytes_max
while count < wanted and bytes < bytes_max do
  local asked = math.min(chunk, wanted - count, math.max(1, math.floor((bytes_max - bytes) / largest)))
  local reply = redis.pcall('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', asked, 'STREAMS', KEYS[1], '>')
  if not reply then break end
  if reply.err then return reply end -- as it is: raised, NOGROUP would be worded differently by each version
  local entries = reply[1][2]
  for i = 1, #entries do
    local fields, size = entries[i][2], 0
    for j = 1, #fields do size = size + #fields[j] end
    bytes = bytes + size
    largest = count == 0 and size or math.max(largest, size)
    count = count + 1
    found[count] = entries[i]
  end
  if #entries < asked then break end
end
return found
