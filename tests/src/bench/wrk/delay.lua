-- Requests go out at a rate: each takes the next moment of the thread's own beat, and who comes late does not wait.
local ffi = require("ffi")
ffi.cdef("typedef struct { long seconds; long nanoseconds; } moment; int clock_gettime(int, moment *);")
local clock = ffi.new("moment")
local next_beat
function delay()
  ffi.C.clock_gettime(1, clock)
  local now = tonumber(clock.seconds) * 1000 + tonumber(clock.nanoseconds) / 1000000
  next_beat = (next_beat or now) + period
  if next_beat < now - 100 then next_beat = now end
  return math.max(0, math.floor(next_beat - now + 0.5))
end
