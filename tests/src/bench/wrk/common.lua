-- Each thread has a target of its own, and sends one request again and again unless it has more.
local count = 0
function setup(thread)
  count = count + 1
  thread.addr = wrk.lookup(targets[count].host, targets[count].port)[1]
  thread:set("number", count)
end
local own
local requests = {}
function init(arguments)
  own = targets[number]
  if close then wrk.headers["Connection"] = "close" end
  wrk.headers["Cookie"] = own.cookie
  for index, cookie in ipairs(own.cookies or {}) do
    wrk.headers["Cookie"] = cookie
    requests[index] = wrk.format()
  end
  math.randomseed(number)
end
function done(summary, latency)
  local e = summary.errors
  local format = 'RESULT {"requests":%d,"microseconds":%d,"p50":%d,"p99":%d,"p999":%d,' ..
    '"errors":{"connect":%d,"read":%d,"write":%d,"timeout":%d,"status":%d}}\n'
  io.write(string.format(format, summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9),
    e.connect, e.read, e.write, e.timeout, e.status))
end
