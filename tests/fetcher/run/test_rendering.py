"""Who renders a task, what is asked of him, and how his requests leave."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from time import monotonic
from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from fetcher.auto.look import look
from fetcher.client.curl import CurlClient
from fetcher.errors import Code, TaskError
from fetcher.guard import is_public
from fetcher.http.incoming import IncomingBody
from fetcher.model import WEB, Client, Egress, Fetch, Request, Response, Task, Trust
from fetcher.proxy import parse_proxy
from fetcher.rendering import CHROMIUM, PHANTOMJS, SPLASH
from fetcher.route.route import DIRECT, Pool
from fetcher.run.fetcher import Fetcher
from fetcher.run.path import Ending, run_robots
from fetcher.run.rendering import COMPLAIN_AGAIN, HELD, NotEnabled, find_rendering
from fetcher.run.shared import Policy, Shared
from fetcher.task.request import Defaults
from fetchpool.farm import Farm, Kind
from tests.auto_sites import sites
from tests.fetcher.fetchers import build_fetcher
from tests.fetcher.route.test_failover import Few
from tests.fetcher.run.painter import HEAD, Painter, failed, painted
from tests.serving import serving
from tests.wait import wait_until

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
        ((CHROMIUM,), "JS", CHROMIUM),
        ((CHROMIUM,), "AUTO", CHROMIUM),
    ],
)
def test_the_first_that_is_there_renders(kinds, fetch_type, kind) -> None:
    shared = sharing(**dict.fromkeys(kinds, EVERYBODY))
    rendering = found(shared, fetch_type=fetch_type)
    assert rendering.render.kind == kind
    assert rendering.clients is shared.clients[kind]
    assert rendering.is_on == (fetch_type.lower() != "auto")


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


# -- a page that is fetched plainly first ----------------------------------------------------------

SHELL = "<div id=root></div><script src=/app.js></script>"
SAYS = "<p>" + "something to say " * 50 + "</p>"
FULL = f"<div id=root>{SAYS}</div>"


class Pages:
    """Answers by path: a status, a type, a body; None never."""

    def __init__(self) -> None:
        self.pages: dict[str, tuple[int, str, str] | None] = {}
        self.asked: list[str] = []
        self.port = 0

    def url(self, path: str = "/page") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"Content-Length: (\d+)", head, re.IGNORECASE)
        await reader.readexactly(int(length[1]) if length else 0)
        method, path, _ = head.decode().split(" ", 2)
        self.asked.append(f"{method} {path}")
        page = self.pages.get(path)
        if page is None:
            await reader.read()
            return
        status, kind, body = page
        more = "Location: /page\r\n" if status == 302 else ""
        data = body.encode()
        writer.write(
            f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\n{more}Connection: close\r\n"
            f"Content-Length: {len(data)}\r\n\r\n".encode()
            + data
        )
        await writer.drain()


@contextlib.asynccontextmanager
async def auto(
    html: str = SHELL, painted_as: str | Response | None = FULL, **options: Any
) -> AsyncIterator[tuple[Pages, Painter, Fetcher]]:
    """A site whose `/page` says `html`, and a renderer by which that becomes something else."""
    pages, painter = Pages(), Painter()
    async with serving(pages.serve) as pages.port:
        pages.pages["/page"] = 200, "text/html; charset=utf-8", html
        if painted_as is not None:
            painter.pages[pages.url()] = painted_as
        with painting(painter, **options) as fetcher:
            yield pages, painter, fetcher


async def test_auto_renders_a_page_that_says_nothing_without() -> None:
    async with auto() as (pages, painter, fetcher):
        result = await fetcher.fetch(pages.url(), fetch_type="auto")
        assert (result.status_code, result.rendered) == (200, True)
        assert result.content == FULL.encode()
        assert (pages.asked, len(painter.asked)) == (["GET /page"], 1)
        assert result.attempts == 2  # a plain one, and that of the page


async def test_auto_leaves_a_page_alone_that_says_what_it_has_to_say() -> None:
    for html in (SAYS, SAYS + "<script src=/app.js></script>"):
        async with auto(html) as (pages, painter, fetcher):
            result = await fetcher.fetch(pages.url(), fetch_type="auto", js_wait=1)
            assert (result.status_code, result.rendered) == (200, False)
            assert (result.content, result.js_script_result) == (html.encode(), None)
            assert painter.asked == []


@pytest.mark.parametrize(
    ("status", "kind", "fetch"),
    [
        (200, "application/json", {}),
        (200, "text/plain", {}),
        (404, "text/html", {}),
        (302, "text/html", {"allow_redirects": False}),
        (200, "text/html", {"method": "POST", "data": "x"}),
        (200, "text/html", {"method": "PUT"}),
    ],
)
async def test_auto_renders_no_answer_that_is_no_page(status: int, kind: str, fetch: dict) -> None:
    async with auto() as (pages, painter, fetcher):
        pages.pages["/page"] = status, kind, SHELL
        result = await fetcher.fetch(pages.url(), fetch_type="auto", **fetch)
        assert (result.status_code, result.rendered) == (status, False)
        assert (painter.asked, len(pages.asked)) == ([], 1)


async def test_auto_renders_where_redirects_have_led_with_the_cookies_learned_there() -> None:
    async with auto() as (pages, painter, fetcher):
        pages.pages["/old"] = 302, "text/html\r\nSet-Cookie: a=b; Path=/", ""
        result = await fetcher.fetch(pages.url("/old"), fetch_type="auto")
        assert (result.url, result.rendered) == (pages.url(), True)
        ((request, _, _),) = painter.asked
        assert (request.url, request.cookie) == (pages.url(), b"a=b")
        assert pages.asked == ["GET /old", "GET /page"]


@pytest.mark.parametrize(
    "painted_as",
    [
        failed(URL, Code.GOT_NOTHING, "the browser has crashed"),
        painted(URL, "<p>down", status=503),
        None,  # it takes all the time there is
    ],
)
async def test_auto_has_the_plain_answer_where_rendering_fails(painted_as) -> None:
    async with auto(painted_as=painted_as) as (pages, painter, fetcher):
        told, result = await fetcher.fetch_told(
            {"url": pages.url(), "fetch": {"fetch_type": "auto", "timeout": 1}}
        )
        assert (result.status_code, result.rendered) == (200, False)
        assert (result.content, result.error) == (SHELL.encode(), UNSET)
        assert told.ending is Ending.ANSWERED
        assert told.response is not None and told.response.body == SHELL.encode()
        assert len(painter.asked) == 1
        assert 0 < result.time < 2


async def test_auto_does_without_a_renderer() -> None:
    pages = Pages()
    async with serving(pages.serve) as pages.port:
        pages.pages["/page"] = 200, "text/html", SHELL
        with painting(Painter(), "other") as fetcher:
            result = await fetcher.fetch(pages.url(), fetch_type="auto", js_screenshot=True)
    assert (result.status_code, result.rendered, result.screenshot) == (200, False, None)


def complaints(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == "fetcher.run.rendering"]


def test_that_auto_finds_nobody_is_logged_now_and_then(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared, now = sharing(), 1_000.0
    monkeypatch.setattr("fetcher.run.rendering.monotonic", lambda: now)
    shared.missing[CHROMIUM] = "it is off"
    for later, lines in ((0.0, 1), (COMPLAIN_AGAIN - 0.1, 1), (0.1, 2), (0.1, 2)):
        now += later
        found(shared, fetch_type="auto")
        assert len(complaints(caplog)) == lines
    assert "fetched plainly, as nobody renders them: it is off; " in complaints(caplog)[0]
    assert caplog.records[0].levelname == "WARNING"


def test_that_a_fetch_type_means_nothing_is_logged_and_the_task_plain(
    caplog: pytest.LogCaptureFixture,
) -> None:
    shared = sharing(chromium=EVERYBODY)
    for fetch_type in ("http", "jss", "javascript"):
        assert found(shared, fetch_type=fetch_type) is None
    [line] = complaints(caplog)
    assert line.startswith("fetch_type that is unknown: a task is fetched plainly: expected js, ")
    assert line.endswith("got 'jss'")


@pytest.mark.parametrize(
    ("code", "lines"), [(Code.RECV_ERROR, 1), (Code.OPERATION_TIMEDOUT, 0), (Code.WRITE_ERROR, 0)]
)
async def test_that_autos_renderer_fails_is_logged_and_that_a_page_does_not(
    code: Code, lines: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with auto(SHELL) as (pages, painter, fetcher):
        painter.pages[pages.url()] = failed(pages.url(), code, "the browser does not start")
        for _ in range(3):
            result = await fetcher.fetch(pages.url(), fetch_type="auto", js_screenshot=True)
            assert (result.status_code, result.rendered) == (200, False)
    said = "fetch_type auto: a page is left as it came plainly: the browser does not start"
    assert complaints(caplog) == [said] * lines


@pytest.mark.parametrize(
    "options",
    [{"js_script": "1"}, {"js_screenshot": True}, {"js_capture": ["xhr"]},
     {"js_actions": [{"click": "a"}]}],
)  # fmt: skip
async def test_auto_renders_every_page_of_whom_something_is_wanted_that_only_that_brings(
    options: dict,
) -> None:
    async with auto(SAYS) as (pages, _, fetcher):
        assert (await fetcher.fetch(pages.url(), fetch_type="auto", **options)).rendered is True


async def test_auto_learns_from_what_it_has_rendered() -> None:
    shell = "<p>" + "words " * 80 + "</p><main></main><script src=/app.js></script>"
    async with auto(shell, None) as (pages, painter, fetcher):
        for n in range(40):
            pages.pages[f"/item/{n}"] = 200, "text/html", shell
            painter.pages[pages.url(f"/item/{n}")] = shell
            result = await fetcher.fetch(pages.url(f"/item/{n}"), fetch_type="auto")
            assert result.rendered is (n == 0)
        for n in range(40):
            pages.pages[f"/shop/{n}"] = 200, "text/html", SAYS + "<script src=/app.js></script>"
            painter.pages[pages.url(f"/shop/{n}")] = FULL + SAYS
        heard = [
            (await fetcher.fetch(pages.url(f"/shop/{n}"), fetch_type="auto")).rendered
            for n in range(40)
        ]
        # Nothing has told that these need it; the ninth is tried, and then it is known.
        assert heard == [False] * 8 + [True] * 32


async def test_auto_keeps_the_proxy_that_has_brought_the_plain_page() -> None:
    async with Farm(tls=False) as farm:
        proxy = farm.add(Kind.GOOD)
        pool = Few(parse_proxy(proxy.url()))
        painter = Painter()
        url = farm.origin.url + "/html"
        painter.pages[url] = FULL
        with painting(painter, chooser=pool) as fetcher:
            result = await fetcher.fetch(url, fetch_type="auto", js_screenshot=True, proxy="pool")
        ((request, _, _),) = painter.asked
        assert result.rendered is True
        assert request.egress is not None
        assert request.egress.wishes.preferred == parse_proxy(proxy.url())


async def test_auto_of_a_stream_waits_for_a_page_and_for_nothing_else() -> None:
    async with auto() as (pages, _, fetcher):
        async with fetcher.stream(pages.url(), fetch_type="auto") as reading:
            assert reading.result is not None and reading.result.rendered is True
            assert reading.result.content == FULL.encode()
        pages.pages["/data"] = 200, "application/json", "[" + "1," * HELD + "1]"
        async with fetcher.stream(pages.url("/data"), fetch_type="auto") as reading:
            assert reading.result is not None
            assert (reading.result.rendered, reading.result.content) == (False, b"")
            assert sum([len(chunk) async for chunk in reading]) == 2 * HELD + 3


@pytest.mark.parametrize(("size", "rendered"), [(HELD - 1, True), (HELD + 1, False)])
async def test_auto_of_a_stream_lets_a_very_long_page_go_on(size: int, rendered: bool) -> None:
    html = SHELL + "<!--" + "x" * (size - len(SHELL) - 7) + "-->"
    assert len(html) == size
    async with auto(html) as (pages, _, fetcher):
        async with fetcher.stream(pages.url(), fetch_type="auto") as reading:
            assert reading.result is not None
            content = reading.result.content or b"".join([chunk async for chunk in reading])
        assert reading.result.rendered is rendered
        assert content == (FULL if rendered else html).encode()


async def test_who_leaves_while_a_page_is_rendered_ends_that_too() -> None:
    async with auto(painted_as=None) as (pages, painter, fetcher):
        fetching = fetcher.run(
            Task(url=pages.url(), fetch=Fetch(fetch_type="auto")),
            lambda _, result: pytest.fail("ended"),
        )
        await wait_until(lambda: bool(painter.asked))
        fetching.cancel()
        assert painter.cancelled == 1


async def test_of_a_hundred_sites_at_most_forty_are_rendered_and_nothing_is_missed() -> None:
    """With a renderer that is a double: it answers what scripts would have made of the page."""
    hundred = list(sites())
    assert (len(hundred), sum(one.needs for one in hundred)) == (100, 30)
    async with auto() as (_, _, fetcher):
        same = renders = 0
        for site in hundred:
            async with auto(site.html, site.rendered) as (own, own_painter, own_fetcher):
                own.pages["/page"] = 200, site.type, site.html
                own_fetcher.shared.memory = fetcher.shared.memory
                result = await own_fetcher.fetch(own.url(), fetch_type="auto")
            renders += len(own_painter.asked)
            same += look(result.content.decode()).text == look(site.rendered).text
    assert same >= 99
    assert renders <= 40
