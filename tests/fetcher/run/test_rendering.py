"""Who renders a task, what is asked of him, and how his requests leave."""

import contextlib
from collections.abc import Iterator, Mapping
from time import monotonic
from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from fetcher.client.curl import CurlClient
from fetcher.errors import TaskError
from fetcher.guard import is_public
from fetcher.http.incoming import IncomingBody
from fetcher.model import WEB, Client, Egress, Fetch, Request, Task, Trust
from fetcher.rendering import CHROMIUM, PHANTOMJS, SPLASH
from fetcher.route.route import DIRECT, Pool
from fetcher.run.fetcher import Fetcher
from fetcher.run.path import Ending, run_robots
from fetcher.run.rendering import NotEnabled, find_rendering
from fetcher.run.shared import Policy, Shared
from fetcher.task.request import Defaults
from fetchpool.farm import Farm
from tests.fetcher.fetchers import build_fetcher
from tests.fetcher.run.painter import HEAD, Painter, painted

EVERYBODY = (Trust.OPEN, Trust.GUARDED)
EGRESS = Egress(route=DIRECT, trust=Trust.OPEN, deadline=5.0, attempt_timeout=15.0)


def sharing(**kinds: tuple[Trust, ...]) -> Shared:
    painter = Painter()
    clients: dict[str, Mapping[Trust, Client]] = {
        kind: dict.fromkeys(trusts, painter) for kind, trusts in {WEB: EVERYBODY, **kinds}.items()
    }
    return Shared(clients, Policy(defaults=Defaults(user_agent="x")), run_robots)


def found(shared: Shared, trust: Trust = Trust.OPEN, **fetch: Any) -> Any:
    return find_rendering(shared, Fetch(**fetch), trust)


@pytest.mark.parametrize("fetch_type", [None, "", "foo"])
def test_who_asks_for_no_renderer_gets_none(fetch_type: str | None) -> None:
    assert found(sharing(chromium=EVERYBODY), fetch_type=fetch_type, js_wait=-1) is None


@pytest.mark.parametrize(
    ("kinds", "fetch_type", "kind"),
    [
        ((CHROMIUM, PHANTOMJS, SPLASH), "js", CHROMIUM),
        ((PHANTOMJS, SPLASH), "js", PHANTOMJS),
        ((SPLASH,), "auto", SPLASH),
        ((CHROMIUM, PHANTOMJS), "phantomjs", PHANTOMJS),
        ((CHROMIUM,), "phantomjs", CHROMIUM),
    ],
)
def test_the_first_that_is_there_renders(kinds, fetch_type, kind) -> None:
    shared = sharing(**dict.fromkeys(kinds, EVERYBODY))
    rendering = found(shared, fetch_type=fetch_type)
    assert rendering.render.kind == kind
    assert rendering.clients is shared.clients[kind]
    assert rendering.is_on == (fetch_type != "auto")


def test_what_is_for_trusted_tasks_only_renders_nothing_for_callers() -> None:
    shared = sharing(splash=(Trust.OPEN,))
    assert found(shared, fetch_type="js").render.kind == SPLASH
    with pytest.raises(NotEnabled) as caught:
        found(shared, Trust.GUARDED, fetch_type="js")
    assert caught.value.name == "phantomjs"
    assert caught.value.reason.startswith("splash is here for trusted tasks only")


def test_why_there_is_none_is_said_as_whoever_has_looked_for_it_says_it() -> None:
    shared = sharing()
    shared.missing[CHROMIUM] = "fetcher.renderer.chromium is off"
    with pytest.raises(NotEnabled) as caught:
        found(shared, fetch_type="chromium")
    assert caught.value.reason == "fetcher.renderer.chromium is off"


def test_auto_does_without_one_and_is_as_careful_with_its_options() -> None:
    rendering = found(sharing(), fetch_type="auto")
    assert (rendering.clients, rendering.is_on) == (None, False)
    with pytest.raises(TaskError, match="js_wait"):
        found(sharing(), fetch_type="auto", js_wait=-1)


def test_only_who_finds_exits_is_told_how_requests_leave() -> None:
    request = Request(url="http://h/")
    for kind in (CHROMIUM, SPLASH):
        rendering = found(sharing(**{kind: EVERYBODY}), fetch_type=kind)
        asked = rendering.ask(request, EGRESS)
        assert asked.render is rendering.render
        assert asked.egress is (EGRESS if kind == CHROMIUM else None)
        assert rendering.finds_exits == (kind == CHROMIUM)


# -- the whole path --------------------------------------------------------------------------------

URL = "http://127.0.0.1:9/page"  # nobody listens there: what is not rendered fails
MOVED = "http://127.0.0.1:9/moved"


@contextlib.contextmanager
def painting(painter: Painter, kind: str = CHROMIUM, **options: Any) -> Iterator[Fetcher]:
    """A fetcher whose pages `painter` renders."""
    clients = {
        Trust.OPEN: CurlClient(force_instance=True),
        Trust.GUARDED: CurlClient(force_instance=True, guard=is_public),
    }
    options.setdefault("route", DIRECT)
    defaults = options.pop("defaults", Defaults(user_agent="fetchpool-test", timeout=20.0))
    others = {kind: dict.fromkeys(EVERYBODY, painter)}
    fetcher = build_fetcher(clients, defaults, others=others, **options)
    try:
        yield fetcher
        assert fetcher.in_flight == 0
    finally:
        for client in clients.values():
            client.close()


async def test_a_rendered_page_is_told_of_as_any_other_and_what_it_has_brought_beside() -> None:
    head = HEAD.replace(b"\r\n\r\n", b"\r\nSet-Cookie: s=1\r\n\r\n")
    answer = painted(
        MOVED, "<p>\u4e2d</p>", head, script_result={"n": [1]}, cookies={"s": "2", "t": "3"},
        screenshot=b"png", proxy="http://p:1", attempts=3,
    )  # fmt: skip
    with painting(Painter({URL: answer})) as fetcher:
        result = await fetcher.fetch(
            URL, fetch_type="js", js_screenshot=True, cookies={"a": "b"}, save=5
        )
    told = msgspec.to_builtins(result, builtin_types=(bytes,))
    assert 0 < told.pop("time") < 5
    assert told == {
        "status_code": 200,
        "orig_url": URL,
        "url": MOVED,
        "headers": {"Content-Type": "text/html; charset=utf-8", "Set-Cookie": "s=1"},
        "content": "<p>\u4e2d</p>".encode(),
        "cookies": {"a": "b", "s": "2", "t": "3"},
        "save": 5,
        "proxy": "http://p:1",
        "attempts": 3,
        "timing": {
            "queue": 0.0, "dns": 0.0, "connect": 0.0, "tls": 0.0, "first_byte": 0.0, "total": 0.2,
            "render": 0.1,
        },
        "rendered": True,
        "js_script_result": {"n": [1]},
        "screenshot": b"png",
    }  # fmt: skip


async def test_what_is_asked_of_the_page_is_what_the_task_says() -> None:
    painter = Painter({URL: "<p>"})
    with painting(painter) as fetcher:
        await fetcher.fetch(
            URL, fetch_type="js", method="POST", data={"q": "1"}, headers={"X-A": "1"},
            cookies={"c": "d"}, user_agent="ua", timeout=7, js_wait=1.5, proxy="pool:shop",
            site="shop", retries=2, validate_cert=False,
        )  # fmt: skip
    ((request, exit, limits),) = painter.asked
    assert (request.method, request.body, request.cookie) == ("POST", b"q=1", b"c=d")
    assert {b"User-Agent: ua", b"X-A: 1"} <= set(request.headers)
    assert request.validate_cert is False
    assert request.render is not None and request.render.wait.seconds == 1.5
    assert exit.proxy is None
    assert 6 < limits.total <= 7
    egress = request.egress
    assert egress is not None
    assert (egress.route, egress.site, egress.retries) == ((Pool("shop"),), "shop", 2)
    assert egress.deadline == pytest.approx(monotonic() + 7, abs=1)
    assert egress.trust is Trust.OPEN


async def test_who_finds_no_exits_is_told_the_one_that_the_route_leads_to() -> None:
    painter = Painter({URL: "<p>"})
    with painting(painter, SPLASH) as fetcher:
        result = await fetcher.fetch(URL, fetch_type="js", proxy="http://u:p@127.0.0.1:8")
    ((request, exit, _),) = painter.asked
    assert request.egress is None
    assert exit.proxy is not None and exit.proxy.authority == "127.0.0.1:8"
    assert (result.proxy, result.attempts) == ("http://127.0.0.1:8", 1)


async def test_a_redirect_that_a_renderer_shows_is_not_followed_once_more() -> None:
    head = b"HTTP/1.1 302 Found\r\nLocation: /other\r\n\r\n"
    painter = Painter({URL: painted(URL, "", head, 302)})
    with painting(painter) as fetcher:
        result = await fetcher.fetch(URL, fetch_type="js")
    assert (result.status_code, result.rendered, len(painter.asked)) == (302, True, 1)


async def test_a_page_that_takes_too_long_is_a_599_that_is_not_rendered() -> None:
    with painting(Painter()) as fetcher:
        told, result = await fetcher.fetch_told({
            "url": URL,
            "fetch": {"fetch_type": "js", "timeout": 0.1, "js_screenshot": True,
                      "js_capture": ["xhr"]},
        })  # fmt: skip
    assert (result.status_code, told.ending) == (599, Ending.LATE)
    assert (result.rendered, result.js_script_result) == (False, None)
    assert (result.screenshot, result.captured) == (None, ())


async def test_a_task_that_nobody_waits_for_is_not_rendered_on() -> None:
    painter = Painter()
    with painting(painter) as fetcher:
        fetching = fetcher.run(
            Task(url=URL, fetch=Fetch(fetch_type="js")), lambda _, result: pytest.fail("ended")
        )
        fetching.cancel()
        assert painter.cancelled == 1


async def test_a_page_that_robots_may_not_read_is_not_rendered() -> None:
    async with Farm(tls=False) as farm:
        url, painter = farm.origin.url + "/deny", Painter()
        painter.pages[url] = "<p>"
        with painting(painter) as fetcher:
            result = await fetcher.fetch(url, fetch_type="js", robots_txt=True)
            assert (result.status_code, result.rendered) == (403, False)
            assert painter.asked == []
            result = await fetcher.fetch(url, fetch_type="js", robots_txt=False)
    assert (result.status_code, result.rendered) == (200, True)


@pytest.mark.parametrize(
    ("url", "fetch", "rendered", "words"),
    [
        (URL, {"js_viewport_width": 0}, UNSET, "fetch.js_viewport_width: expected pixels"),
        ("ftp://h/x", {}, False, "fetch_type js: there is no page behind ftp://"),
    ],
)
async def test_what_cannot_be_rendered_says_why(url, fetch, rendered, words) -> None:
    with painting(Painter(), schemes=("http", "ftp")) as fetcher:
        result = await fetcher.fetch(url, fetch_type="js", **fetch)
    assert (result.status_code, result.rendered) == (599, rendered)
    assert words in str(result.error)


async def test_a_data_url_is_never_rendered() -> None:
    with painting(Painter()) as fetcher:
        result = await fetcher.fetch("data:,x", fetch_type="js")
    assert (result.status_code, result.content, result.rendered) == (200, b"x", UNSET)


async def test_who_reads_as_it_comes_gets_a_rendered_page_whole() -> None:
    with painting(Painter({URL: "<p>whole</p>"})) as fetcher:
        async with fetcher.stream(URL, fetch_type="js") as reading:
            assert reading.result is not None
            assert (reading.result.rendered, reading.result.content) == (True, b"<p>whole</p>")


async def test_a_body_that_comes_bit_by_bit_is_not_for_a_page() -> None:
    upload = IncomingBody(None)
    with painting(Painter({URL: "<p>"})) as fetcher:
        async with fetcher.stream(URL, upload=upload, method="POST", fetch_type="js") as reading:
            assert reading.result is not None
            assert "a page is asked for with a short body only" in str(reading.result.error)


def test_a_page_that_is_fetched_plainly_first_finds_no_exits_yet() -> None:
    assert not found(sharing(chromium=EVERYBODY), fetch_type="auto").finds_exits
