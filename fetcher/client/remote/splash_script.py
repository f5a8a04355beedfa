"""The script by which Splash renders a page.

A decision module: a text in Lua, in the dialect of Splash, and nothing else. It answers what the
other renderers answer, by the same names.
"""

from typing import Final

SCRIPT: Final = """
local function is_idle(load, now)
  return load.open <= 0 and now - load.last >= 0.5
end

local function settle(splash, args, load)
  local began = splash:get_perf_stats().walltime
  local wait = args.js_wait
  if type(wait) == 'number' then
    splash:wait{time = wait, cancel_on_redirect = false, cancel_on_error = false}
  elseif wait == 'load' then
    return
  elseif wait ~= 'idle' then
    while not splash:select(wait) do
      local left = began + args.patience - splash:get_perf_stats().walltime
      if left <= 0 then return 'no element that ' .. wait .. ' finds has come' end
      splash:wait{time = 0.1, cancel_on_redirect = false, cancel_on_error = false}
    end
  else
    repeat
      splash:wait{time = 0.1, cancel_on_redirect = false, cancel_on_error = false}
      local now = splash:get_perf_stats().walltime
    until is_idle(load, now) or now - began > args.patience
  end
end

local function fields_of(response)
  local fields = {}
  for _, field in ipairs(response.headers or {}) do
    local before = fields[field.name]
    fields[field.name] = before and (before .. '\\n' .. field.value) or field.value
  end
  return fields
end

function main(splash, args)
  splash.images_enabled = args.images
  splash:set_viewport_size(args.width, args.height)
  local load = {open = 0, last = splash:get_perf_stats().walltime}
  splash:on_request(function(request)
    load.open = load.open + 1
    load.last = splash:get_perf_stats().walltime
    if args.proxy_host then
      request:set_proxy{
        host = args.proxy_host, port = args.proxy_port, type = args.proxy_type,
        username = args.proxy_username, password = args.proxy_password,
      }
    end
  end)
  splash:on_response(function()
    load.open = load.open - 1
    load.last = splash:get_perf_stats().walltime
  end)
  if args.js_script and args.js_run_at == 'document-start' then
    splash:autoload(args.js_script)
  end
  local request = {args.url, headers = args.headers, http_method = args.method, body = args.body}
  local ok, reason = splash:go(request)
  local entries = splash:history()
  local entry = entries[#entries]
  local response = entry and entry.response
  if not ok and not response then
    return {status_code = 599, error = reason, url = args.url}
  end
  local problem = settle(splash, args, load)
  if problem then
    return {status_code = 599, error = problem, url = args.url}
  end
  local result, failed
  if args.js_script and args.js_run_at ~= 'document-start' then
    local ran, value = pcall(function() return splash:evaljs(args.js_script) end)
    if ran then result = value else failed = tostring(value) end
  end
  local picture
  if args.js_screenshot then
    picture = splash:png{render_all = args.js_screenshot == 'full'}
  end
  local cookies = {}
  for _, cookie in ipairs(splash:get_cookies()) do cookies[cookie.name] = cookie.value end
  return {
    status_code = response and response.status or 200,
    headers = response and fields_of(response) or {},
    url = splash:url(),
    content = splash:html(),
    cookies = cookies,
    js_script_result = result,
    js_script_error = failed,
    screenshot = picture,
  }
end
"""
