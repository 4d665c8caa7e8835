-- Users of wrk: each thread is one, with one connection; each line of output is one request and its answer.

local ffi = require("ffi")
ffi.cdef [[
  struct wall { long seconds; long nanoseconds; };
  int clock_gettime(int clock, struct wall *wall);
]]
local wall = ffi.new("struct wall")

local function now()
  ffi.C.clock_gettime(0, wall)
  return tonumber(wall.seconds) * 1e3 + tonumber(wall.nanoseconds) / 1e6
end

local threads = 0
function setup(thread)
  thread:set("user", threads)
  threads = threads + 1
end

function init(arguments)
  keeps = user < tonumber(arguments[1])
  -- Once, before any thread writes: they share the stream.
  if user == 0 then
    io.stdout:setvbuf("line")
  end
end

function delay()
  return 5
end

function request()
  sent = now()
  return wrk.format("GET", nil, { Cookie = cookie })
end

function response(status, headers, body)
  local received = now()
  local outcome = status == 200 and '"answer":' .. body:gsub("%s+$", "") or '"error":"status ' .. status .. '"'
  local issued = headers["set-cookie"] or headers["Set-Cookie"]
  if keeps and issued then
    cookie = issued:match("^[^;]+")
  end
  io.write(string.format('{"user":%d,"keeps":%s,"sent":%.3f,"received":%.3f,%s}\n', user, tostring(keeps), sent, received, outcome))
end
