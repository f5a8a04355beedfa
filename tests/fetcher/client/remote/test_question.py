"""What a renderer elsewhere is asked."""

import json
from typing import Any

import pytest

from fetcher.client.remote.question import SPLASH_MOST, build_question
from fetcher.client.remote.splash_script import SCRIPT
from fetcher.errors import TaskError
from fetcher.model import DIRECT, Exit, Request, Upload
from fetcher.proxy import parse_proxy
from fetcher.rendering import PHANTOMJS, PUPPETEER, SPLASH, Render, Wait

PYSPIDERS = (PHANTOMJS, PUPPETEER)
THROUGH = Exit(proxy=parse_proxy("u:p%40ss@proxy.localhost:3128"))


def asked(
    kind: str, exit: Exit = DIRECT, seconds: float = 20.0, body: Any = None, **options: Any
) -> dict[str, Any]:
    request = Request(
        url="http://h/x",
        headers=(b"User-Agent: ua", b"X-Empty;", b"Accept:", b"X-Two: a", b"X-Two: b"),
        cookie=b"a=b",
        body=body,
        render=Render(kind=kind, **options),
    )
    told: dict[str, Any] = json.loads(build_question(request, exit, seconds))
    return told


@pytest.mark.parametrize("kind", PYSPIDERS)
def test_pyspiders_renderers_are_asked_as_pyspider_asks_them(kind: str) -> None:
    fetch = {
        "timeout": 60.0,
        "save": 1,
        "js_script": "1",
        "data": "x",
        "proxy": "pool",
        "etag": "e",
    }
    told = asked(kind, fetch=fetch, script="function() { return 1 }")
    assert told == {
        "url": "http://h/x",
        "method": "GET",
        "headers": {"User-Agent": "ua", "X-Empty": "", "X-Two": "a, b", "Cookie": "a=b"},
        "use_gzip": True,
        "validate_cert": True,
        "connect_timeout": 20.0,
        "request_timeout": 19.5,
        "timeout": 19.5,
        "js_run_at": "document-end",
        "js_viewport_width": 1024,
        "js_viewport_height": 2304,
        "load_images": False if kind == PHANTOMJS else "false",
        "js_script": "function() { return 1 }"
        if kind == PHANTOMJS
        else "(function() { return 1 }\n)()",
        "save": 1,
        "etag": "e",
    }


def test_splash_is_given_a_script_of_ours_and_what_it_needs() -> None:
    told = asked(SPLASH, fetch={"own": 1}, script="document.title", screenshot="full", images=True)
    assert told == {
        "lua_source": SCRIPT,
        "url": "http://h/x",
        "method": "GET",
        "headers": {"User-Agent": "ua", "X-Empty": "", "X-Two": "a, b", "Cookie": "a=b"},
        "timeout": 19.5,
        "patience": 18.5,
        "images": True,
        "width": 1024,
        "height": 2304,
        "js_wait": "idle",
        "js_run_at": "document-end",
        "js_script": "document.title",
        "js_screenshot": "full",
    }


@pytest.mark.parametrize(
    ("wait", "told"),
    [
        (Wait("idle"), "idle"),
        (Wait("load"), "load"),
        (Wait("time", 2.5), 2.5),
        (Wait("selector", selector="#x"), "#x"),
    ],
)
def test_splash_hears_what_to_wait_for_in_one_word(wait: Wait, told: object) -> None:
    assert asked(SPLASH, wait=wait)["js_wait"] == told


@pytest.mark.parametrize(
    ("seconds", "told"), [(0.2, 0.1), (1.0, 0.5), (10.0, 9.5), (58.5, 58.0), (600.0, 599.5)]
)
def test_it_is_to_give_up_earlier_than_we_do(seconds: float, told: float) -> None:
    for kind in PYSPIDERS:
        assert asked(kind, seconds=seconds)["timeout"] == told
    assert asked(SPLASH, seconds=seconds)["timeout"] == min(told, SPLASH_MOST)


@pytest.mark.parametrize("kind", [*PYSPIDERS, SPLASH])
def test_the_exit_that_the_path_has_chosen_is_told(kind: str) -> None:
    told = asked(kind, THROUGH)
    assert {name: told[name] for name in told if name.startswith("proxy_")} == {
        "proxy_host": "proxy.localhost",
        "proxy_port": 3128,
        "proxy_username": "u",
        "proxy_password": "p@ss",
        **({"proxy_type": "HTTP"} if kind == SPLASH else {}),
    }
    assert told.get("proxy") == (None if kind == SPLASH else "u:p%40ss@proxy.localhost:3128")
    bare = asked(kind, Exit(proxy=parse_proxy("socks5://h:1")))
    assert (bare["proxy_host"], "proxy_username" in bare) == ("h", False)
    assert "proxy_host" not in asked(kind, fetch={"proxy": "http://other:1"})
    assert "proxy" not in asked(kind, fetch={"proxy": "http://other:1"})


def test_splash_cannot_be_sent_through_every_kind_of_proxy() -> None:
    with pytest.raises(TaskError, match="splash cannot go through a socks4:// proxy"):
        asked(SPLASH, Exit(proxy=parse_proxy("socks4://h:1")))
    assert asked(PHANTOMJS, Exit(proxy=parse_proxy("socks4://h:1")))["proxy"] == "socks4://h:1"


@pytest.mark.parametrize("kind", [*PYSPIDERS, SPLASH])
def test_who_sends_no_cookie_tells_none(kind: str) -> None:
    request = Request(url="http://h/", render=Render(kind=kind))
    assert json.loads(build_question(request, DIRECT, 1.0))["headers"] == {}


@pytest.mark.parametrize("kind", [*PYSPIDERS, SPLASH])
def test_a_body_is_told_as_text(kind: str) -> None:
    told = asked(kind, body="\u4e2d=1".encode())
    assert told["body"] == "\u4e2d=1"
    assert told.get("data") == (None if kind == SPLASH else "\u4e2d=1")
    with pytest.raises(TaskError, match=f"{kind} takes text only, and these bytes are no UTF-8"):
        asked(kind, body=b"\xff")
    upload: Upload | None = None
    with pytest.raises(TaskError, match=f"{kind} takes a body that is here, as text"):
        asked(kind, body=object() if upload is None else upload)


@pytest.mark.parametrize("value", [object(), 1j, {object(): 1}])
def test_what_json_cannot_tell_is_refused(value: object) -> None:
    with pytest.raises(TaskError, match="phantomjs cannot be told the task's options"):
        asked(PHANTOMJS, fetch={"etag": value})


@pytest.mark.parametrize(
    ("script", "is_function"),
    [
        ("function() { return 1 }", True),
        ("  function name(a) {}", True),
        ("async function() {}", True),
        ("() => 1", True),
        ("(a, b = {}) => a", True),
        ("async () => 1", True),
        ("a => a", True),
        ("document.title", False),
        ("functional()", False),
        ("(1 + 2)", False),
        ("var a = 1; a", False),
    ],
)
def test_a_function_is_called_and_anything_else_evaluated(script: str, is_function: bool) -> None:
    phantom = asked(PHANTOMJS, script=script)["js_script"]
    quoted = f"function() {{ return eval({json.dumps(script)}); }}"
    assert phantom == (script if is_function else quoted)
    for kind in (PUPPETEER, SPLASH):
        told = asked(kind, script=script)["js_script"]
        assert told == (f"({script}\n)()" if is_function else script)


def test_a_long_line_that_only_begins_like_a_function_takes_no_time() -> None:
    script = "(" + "a," * 100_000
    assert asked(SPLASH, script=script)["js_script"] == script
