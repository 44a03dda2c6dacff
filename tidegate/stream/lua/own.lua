--[[ own: what is pending for one consumer, without delivering it again.

KEYS 1 events stream
ARGV 1 group   2 consumer   3 after this id ('': from the first)   4 look at no more than this many
     5 no more once this many bytes are reached
Returns {{id, {name, value...}, deliveries}..., id to go on after or '' at the end, markers written}

XREADGROUP with an id would raise the delivery count, which is evidence against an entry: hence XPENDING and XRANGE.
An entry whose content somebody deleted is acknowledged, and a marker becomes a letter in its place.
Sent twice, it finds the same again; a marker is written once, for what is marked is no longer pending.
--]]
local wanted, bytes_max = tonumber(ARGV[4]), tonumber(ARGV[5])
local start = ARGV[3] == '' and '-' or '(' .. ARGV[3]
local rows = redis.pcall('XPENDING', KEYS[1], ARGV[1], start, '+', wanted, ARGV[2])
if rows.err then return rows end
local found, bytes, lost, last = {}, 0, 0, ''
for i = 1, #rows do
  local id = rows[i][1]
  local entry = redis.call('XRANGE', KEYS[1], id, id)[1]
  if entry then
    for _, part in ipairs(entry[2]) do bytes = bytes + #part end
    found[#found + 1] = {id, entry[2], rows[i][4]}
  else
    redis.call('XACK', KEYS[1], ARGV[1], id) -- first: it frees memory, so Redis lets us write even when full
    redis.call('XADD', KEYS[1], '*', 'v', '1', 'lost', id, 'queue', 'events')
    lost = lost + 1
  end
  last = id
  if bytes >= bytes_max then return {found, last, lost} end
end
return {found, #rows == wanted and last or '', lost}
