-- One session after the other, or one that nobody has issued.
local turn = 0
function request()
  if own.made_up then
    wrk.headers["Cookie"] = string.format("JSESSIONID=%08X%08X%08X%08X", math.random(0, 2147483647),
      math.random(0, 2147483647), math.random(0, 2147483647), math.random(0, 2147483647))
    return wrk.format()
  end
  if #requests == 0 then
    return wrk.format()
  end
  turn = turn % #requests + 1
  return requests[turn]
end
