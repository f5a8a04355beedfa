"""Splash's script, run by Lua before a double of Splash: a browser that does what a table says."""

from typing import Any

import pytest
from lupa.lua53 import LuaRuntime

from fetcher.client.remote.splash_script import SCRIPT

# As much of Splash as the script asks for, by its documentation (splash.readthedocs.io). Time goes
# by in `wait` alone.
DOUBLE = """
function make(world)
  local splash = {images_enabled = true}
  local now, seen = 0, {}
  function splash:get_perf_stats() return {walltime = now} end
  function splash:set_viewport_size(width, height) seen.viewport = width .. 'x' .. height end
  function splash:on_request(call) self.request = call end
  function splash:on_response(call) self.response = call end
  function splash:autoload(script) seen.autoload = script end
  local function load()
    local request = {}
    function request:set_proxy(proxy)
      seen.proxy = table.concat({proxy.type, proxy.host, proxy.port, proxy.username or '-'}, ' ')
    end
    splash.request(request)
  end
  function splash:go(request)
    seen.asked = request.http_method .. ' ' .. request[1] .. ' ' .. (request.body or '-')
    seen.agent = request.headers and request.headers['User-Agent']
    load()
    splash.response()
    for _ = 1, world.open or 0 do load() end
    return world.ok, world.reason
  end
  function splash:wait(options)
    assert(options.cancel_on_redirect == false and options.cancel_on_error == false)
    now = now + options.time
    seen.waited = now
    if world.closes_at and now >= world.closes_at then
      world.closes_at = nil
      for _ = 1, world.open do splash.response() end
    end
  end
  function splash:select(selector)
    seen.selector = selector
    return world.comes_at and now >= world.comes_at and {} or nil
  end
  function splash:history()
    if not world.status then return {} end
    local fields = {
      {name = 'Set-Cookie', value = 'a=b'}, {name = 'Set-Cookie', value = 'c=d'},
      {name = 'Server', value = 'x'},
    }
    return {{response = {status = 302}}, {response = {status = world.status, headers = fields}}}
  end
  function splash:evaljs(script)
    seen.script = script
    if world.fails then error('ReferenceError') end
    return 'value'
  end
  function splash:png(options) return options.render_all and 'full' or 'view' end
  function splash:get_cookies() return {{name = 'k', value = 'v'}} end
  function splash:url() return 'http://h/last' end
  function splash:html() return '<p>' end
  return splash, seen
end
"""
ARGS: dict[str, Any] = {
    "url": "http://h/x",
    "method": "GET",
    "headers": {"User-Agent": "ua"},
    "images": False,
    "width": 1024,
    "height": 2304,
    "js_wait": "idle",
    "js_run_at": "document-end",
    "patience": 10,
}
GOOD = {"ok": True, "status": 200}


def run(world: dict[str, Any], **args: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the script answers, and what the double has seen."""
    lua = LuaRuntime(unpack_returned_tuples=True)
    lua.execute(SCRIPT + DOUBLE)
    of = lua.globals()
    splash, seen = of.make(lua.table_from(world))
    told = {name: value for name, value in {**ARGS, **args}.items() if value is not None}
    told["headers"] = lua.table_from(told["headers"])
    answer = dict(of.main(splash, lua.table_from(told)))
    for name in ("headers", "cookies"):
        if name in answer:
            answer[name] = dict(answer[name])
    return answer, {**dict(seen), "images": splash.images_enabled}


def test_it_answers_what_the_other_renderers_answer() -> None:
    answer, seen = run(GOOD)
    assert answer == {
        "status_code": 200,
        "headers": {"Set-Cookie": "a=b\nc=d", "Server": "x"},
        "url": "http://h/last",
        "content": "<p>",
        "cookies": {"k": "v"},
    }
    assert (seen["asked"], seen["agent"]) == ("GET http://h/x -", "ua")
    assert (seen["viewport"], seen["images"]) == ("1024x2304", False)


def test_what_is_to_be_sent_and_through_what_is_what_it_is_told() -> None:
    _, seen = run(
        GOOD, method="POST", body="q=1", proxy_host="h", proxy_port=1, proxy_type="HTTP",
        proxy_username="u", images=True,
    )  # fmt: skip
    assert (seen["asked"], seen["proxy"]) == ("POST http://h/x q=1", "HTTP h 1 u")
    assert seen["images"] is True


@pytest.mark.parametrize(
    ("world", "wait", "least", "most"),
    [
        ({}, "load", 0, 0),
        ({}, "idle", 0.5, 0.8),
        ({"open": 2, "closes_at": 3}, "idle", 3.4, 3.8),
        ({"open": 2}, "idle", 10, 10.3),  # never idle: as long as there is patience
        ({}, 2.5, 2.5, 2.5),
        ({"comes_at": 1}, "#x", 1, 1.2),
    ],
)
def test_it_waits_for_what_it_is_told(world, wait, least: float, most: float) -> None:
    answer, seen = run({**GOOD, **world}, js_wait=wait)
    assert answer["status_code"] == 200
    assert least <= seen.get("waited", 0) <= most


def test_an_element_that_does_not_come_is_a_failure_that_names_it() -> None:
    answer, _ = run(GOOD, js_wait="#never")
    assert answer == {
        "status_code": 599,
        "error": "no element that #never finds has come",
        "url": "http://h/x",
    }


def test_a_script_is_run_when_it_is_to() -> None:
    answer, seen = run(GOOD, js_script="f()")
    assert (answer["js_script_result"], seen["script"]) == ("value", "f()")
    answer, seen = run(GOOD, js_script="f()", js_run_at="document-start")
    assert "js_script_result" not in answer
    assert (seen["autoload"], "script" in seen) == ("f()", False)


def test_a_script_that_fails_says_how() -> None:
    answer, _ = run({**GOOD, "fails": True}, js_script="f()")
    assert "ReferenceError" in answer["js_script_error"]


@pytest.mark.parametrize(("asked", "picture"), [("view", "view"), ("full", "full"), (None, None)])
def test_a_picture_is_of_what_was_asked(asked, picture) -> None:
    answer, _ = run(GOOD, js_screenshot=asked)
    assert answer.get("screenshot") == picture


def test_an_error_page_is_a_page() -> None:
    answer, _ = run({"ok": False, "reason": "http404", "status": 404})
    assert (answer["status_code"], answer["content"]) == (404, "<p>")


def test_no_answer_at_all_is_none() -> None:
    answer, _ = run({"ok": False, "reason": "network3"})
    assert answer == {"status_code": 599, "error": "network3", "url": "http://h/x"}
