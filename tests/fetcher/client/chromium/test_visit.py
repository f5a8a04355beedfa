"""What a page is asked for, and what comes of it, in a real browser."""

import asyncio
import json
from typing import Any

import pytest

from fetcher.errors import Code, Outcome
from fetcher.model import Response, Trust
from fetcher.rendering import IDLE, Click, Scroll, Type, Wait
from tests.rendering import Renderer, paging, seen

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60)]

PAGE = "<!doctype html><title>t</title><p id=a>hi</p>"
WRITES = PAGE + "<script>document.getElementById('a').textContent = 'written'</script>"


def text(response: Response) -> str:
    assert response.outcome is Outcome.ANSWERED, response
    return response.body.decode()


async def test_what_scripts_make_of_a_page_is_its_content(renderer: Renderer) -> None:
    async with paging({"/": WRITES}) as site:
        response = await renderer.render(site.url())
    assert text(response).startswith("<!DOCTYPE html>")
    assert "written</p>" in text(response)
    assert response.status == 200
    assert response.url == site.url()
    assert response.head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"charset=utf-8" in response.head and b"Content-Length" not in response.head
    assert response.timing.render


@pytest.mark.parametrize(
    ("raw", "fields"),
    [
        (b"<p>\xe4\xf6", {"Content-Type": "text/html; charset=iso-8859-1"}),
        ("<p>äö".encode("utf-16"), {"Content-Type": "text/html"}),
        (b"<meta charset=gbk><p>" + "äö".encode(), {"Content-Type": "text/html; charset=utf-8"}),
    ],
)
async def test_content_is_utf8_whatever_it_was(
    renderer: Renderer, raw: bytes, fields: dict[str, str]
) -> None:
    async with paging({"/": (200, fields, raw)}) as site:
        response = await renderer.render(site.url())
    assert "<p>äö" in text(response)
    assert b"Content-Type: text/html; charset=utf-8\r\n" in response.head


async def test_the_answer_is_the_last_of_redirects_and_cookies_are_of_all(
    renderer: Renderer,
) -> None:
    pages = {
        "/": (302, {"Location": "/b", "Set-Cookie": "first=1"}, ""),
        "/b": (200, {"Set-Cookie": ["x=1; HttpOnly", "y=2"], "X-Own": "z"}, PAGE
               + "<script>document.cookie='s=3'</script>"),
    }  # fmt: skip
    async with paging(pages) as site:
        response = await renderer.render(site.url())
    assert response.url == site.url("/b")
    assert b"Set-Cookie: x=1; HttpOnly\r\nSet-Cookie: y=2\r\n" in response.head
    assert b"X-Own: z\r\n" in response.head
    assert seen(response).cookies == {"first": "1", "x": "1", "y": "2", "s": "3"}


async def test_a_page_that_leads_on_by_script_is_the_one_it_leads_to(renderer: Renderer) -> None:
    pages = {"/": "<script>location = '/b?x#y'</script>", "/b": (404, {"X-Own": "b"}, WRITES)}
    async with paging(pages) as site:
        response = await renderer.render(site.url(), wait=IDLE)
    assert "written" in text(response)
    assert (response.status, response.url) == (404, site.url("/b?x#y"))
    assert b"X-Own: b\r\n" in response.head


async def test_an_error_of_the_site_is_its_answer(renderer: Renderer) -> None:
    async with paging({"/": (503, {"Retry-After": "7"}, PAGE)}) as site:
        response = await renderer.render(site.url())
    assert (response.outcome, response.status) == (Outcome.ANSWERED, 503)
    assert b"Retry-After: 7" in response.head


@pytest.mark.parametrize(
    ("script", "value"),
    [
        ("() => document.title", "t"),
        ("function() { return {a: [1, null, 'x']}; }", {"a": [1, None, "x"]}),
        ("async () => 1 + 1", 2),
        ("document.title + '!';", "t!"),
        ("var a = 3; a * 2", 6),
        ("() => undefined", None),
        ("() => window", None),  # a circle
        ("() => { throw new Error('no') }", None),
        ("((", None),
        ("() => '\\ud800'", "?"),
        ("() => 1 // a comment", 1),
        ("new Promise(r => setTimeout(() => r('late'), 50))", "late"),
    ],
)
async def test_a_script_is_called_or_is_its_value(
    renderer: Renderer, script: str, value: Any
) -> None:
    async with paging({"/": PAGE}) as site:
        response = await renderer.render(site.url(), script=script)
    assert seen(response).script_result == value


async def test_a_script_at_the_start_runs_before_the_pages_own(renderer: Renderer) -> None:
    page = PAGE + "<script>document.getElementById('a').textContent = window.early</script>"
    script = "() => { window.early = 'before'; return [document.title]; }"
    async with paging({"/": page}) as site:
        response = await renderer.render(site.url(), script=script, run_at="document-start")
    assert ">before</p>" in text(response)
    assert seen(response).script_result == [""]


@pytest.mark.parametrize("size", [(1 << 20) - 2, (1 << 20) - 1])
async def test_a_value_has_its_limit(renderer: Renderer, size: int) -> None:
    async with paging({"/": PAGE}) as site:
        response = await renderer.render(site.url(), script=f"() => 'x'.repeat({size})")
    if size + 2 <= 1 << 20:
        assert len(seen(response).script_result) == size
    else:
        assert "js_script" in response.message and response.outcome is not Outcome.ANSWERED


async def test_a_policy_of_the_page_stops_no_script_of_the_task(renderer: Renderer) -> None:
    strict = {"Content-Security-Policy": "default-src 'none'; sandbox allow-scripts"}
    async with paging({"/": (200, strict, PAGE)}) as site:
        response = await renderer.render(site.url(), script="() => eval('1') + 1")
        assert seen(response).script_result == 2
        response = await renderer.render(site.url(), script="() => document.title")
        assert seen(response).script_result == "t"


async def test_the_pages_own_headers_are_the_tasks(renderer: Renderer) -> None:
    page = PAGE + "<script>fetch('/same'); fetch('http://other.localhost:%d/x', {mode: 'no-cors'})"
    headers = (b"User-Agent: me/1", b"X-Key: k", b"Authorization: Basic c2VjcmV0", b"Accept: a/b")
    async with paging({"/same": "s", "/x": "x"}) as other, paging({"/same": "s"}) as site:
        site.pages = {"/": page % other.port + "</script>", "/same": "s"}
        await renderer.render(site.url(), wait=IDLE, request={"headers": headers})
    heads = {path: head for _, path, head, _ in site.asked + other.asked}
    for path in ("/", "/same"):
        assert "User-Agent: me/1\r\n" in heads[path]
        assert "X-Key: k\r\n" in heads[path]
        assert "Authorization: Basic c2VjcmV0\r\n" in heads[path]
    assert "Accept: a/b\r\n" in heads["/"]
    assert "User-Agent: me/1\r\n" in heads["/x"]
    assert "secret" not in heads["/x"] and "c2VjcmV0" not in heads["/x"]
    assert "X-Key" not in heads["/x"]


async def test_credentials_go_to_no_other_place_by_redirects(renderer: Renderer) -> None:
    headers = (b"X-Key: k", b"Authorization: Basic c2VjcmV0")
    async with paging({"/": PAGE}) as other:
        moved = (302, {"Location": other.url("/", "other.localhost")}, "")
        async with paging({"/": moved}) as site:
            await renderer.render(
                site.url(), request={"headers": headers, "cookie": b"session=mine"}
            )
    assert "session=mine" in site.asked[0][2]
    [(_, _, head, _)] = [one for one in other.asked if one[1] == "/"]
    assert "Authorization" not in head and "mine" not in head
    assert "X-Key: k" in head  # as without a browser


async def test_cookies_are_the_sites_and_no_other_context_has_them(renderer: Renderer) -> None:
    page = PAGE + "<script>fetch('/xhr'); new Image().src = 'http://other.localhost:%d/i'</script>"
    async with paging({}) as other, paging({}) as site:
        site.pages = {"/": page % other.port, "/xhr": "x", "/b": PAGE}
        first, second = await asyncio.gather(
            renderer.render(
                site.url(), wait=IDLE, images=True, request={"cookie": b"a=1; b=x=y; bad;; =c"}
            ),
            renderer.render(site.url("/b"), wait=IDLE),
        )
    sent = {path: head for _, path, head, _ in site.asked + other.asked}
    assert "Cookie: a=1; b=x=y" in sent["/"] and "Cookie: a=1; b=x=y" in sent["/xhr"]
    assert "Cookie" not in sent["/b"] and "Cookie" not in sent["/i"]
    assert seen(first).cookies == {"a": "1", "b": "x=y"}
    assert seen(second).cookies == {}


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_a_method_and_its_body_go_once(renderer: Renderer, method: str) -> None:
    request = {
        "method": method,
        "body": b"q=\xc3\xa4&x=1",
        "headers": (b"Content-Type: application/x-www-form-urlencoded",),
    }
    async with paging({"/": (303, {"Location": "/done"}, ""), "/done": PAGE}) as site:
        response = await renderer.render(site.url(), request=request)
    sent = [(how, path, body) for how, path, _, body in site.asked if path != "/favicon.ico"]
    assert sent == [(method, "/", b"q=\xc3\xa4&x=1"), ("GET", "/done", b"")]
    assert "Content-Type: application/x-www-form-urlencoded\r\n" in site.asked[0][2]
    assert "Content-Type" not in site.asked[1][2]
    assert response.url == site.url("/done")


HALVES = PAGE + "<link rel=stylesheet href=/s.css><img src=/i.png><script src=/j.js></script>"


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ({}, {"/", "/s.css", "/j.js"}),
        ({"images": True}, {"/", "/s.css", "/j.js", "/i.png"}),
        ({"block": frozenset({"stylesheet"})}, {"/", "/j.js"}),
        ({"block": frozenset({"script", "stylesheet"}), "images": True}, {"/", "/i.png"}),
    ],
)
async def test_what_is_not_wanted_is_not_asked_for(
    renderer: Renderer, options: dict[str, Any], asked: set[str]
) -> None:
    async with paging({"/": HALVES}) as site:
        await renderer.render(site.url(), wait=IDLE, **options)
    assert set(site.paths()) - {"/favicon.ico"} == asked


async def test_blocked_hosts_and_those_below_get_no_request(renderer: Renderer) -> None:
    page = PAGE + "".join(
        f"<script src=http://{host}:%d/></script>"
        for host in ("ads.localhost", "a.b.ads.localhost", "noads.localhost")
    )
    async with paging({}) as other, paging({}) as site:
        site.pages = {"/": page % (other.port, other.port, other.port)}
        await renderer.render(site.url())
    hosts = [line for _, _, head, _ in other.asked for line in head.split("\r\n") if "Host" in line]
    assert hosts == [f"Host: noads.localhost:{other.port}"]


async def test_it_is_waited_for_what_the_task_says(renderer: Renderer) -> None:
    page = PAGE + (
        "<script>setTimeout(() => document.body.append(Object.assign("
        "document.createElement('b'), {id: 'late', textContent: 'late'})), 300)</script>"
    )
    async with paging({"/": page}) as site:
        for wait, is_there in (
            (Wait("load"), False),
            (Wait("time", 0.8), True),
            (Wait("selector", selector="#late"), True),
        ):
            response = await renderer.render(site.url(), wait=wait)
            assert ('id="late"' in text(response)) is is_there, wait
        began = asyncio.get_running_loop().time()
        response = await renderer.render(
            site.url(), wait=Wait("selector", selector="#never"), timeout=2
        )
        assert response.code == Code.OPERATION_TIMEDOUT
        assert "while nothing matched js_wait '#never', a selector" in response.message
        assert asyncio.get_running_loop().time() - began < 2.5


@pytest.mark.parametrize(
    "options",
    [
        {"wait": Wait("selector", selector="p:no-such")},
        {"actions": (Click("#a"), Click("a >> b"))},
        {"actions": (Type("text=x", "y"),)},
        {"actions": (Scroll("//p"),)},
        {"actions": (Wait("selector", selector="p:has-text('hi')"),)},
    ],
    ids=str,
)
async def test_what_is_no_css_to_the_browser_is_refused_before_it_asks_for_the_page(
    renderer: Renderer, options: dict[str, Any]
) -> None:
    async with paging({"/": PAGE}) as site:
        response = await renderer.render(site.url(), timeout=10, **options)
        assert response.outcome is Outcome.TARGET and site.asked == []
    assert response.message.endswith("is no CSS selector") and not response.sent


async def test_somebody_scrolls_types_and_clicks(renderer: Renderer) -> None:
    page = (
        PAGE
        + """<style>#deep { margin-top: 5000px }</style>
    <form action=/found><input id=q name=q><button id=go>go</button></form><p id=deep>deep</p>
    <script>onscroll = () => { document.title = 'y' + (scrollY > 0) }
    document.getElementById('a').onclick = (e) => { e.target.textContent = 'clicked' }</script>"""
    )
    async with paging({"/": page, "/found": WRITES}) as site:
        response = await renderer.render(
            site.url(),
            actions=(Click("#a"), Scroll("bottom"), Wait("time", 0.1)),
            height=600,
        )
        assert ">clicked</p>" in text(response) and "<title>ytrue" in text(response)
        for to in (500, "#deep"):
            response = await renderer.render(
                site.url(), actions=(Scroll(to), Wait("time", 0.1)), height=600
            )
            assert "<title>ytrue" in text(response)
        response = await renderer.render(
            site.url(), actions=(Type("#q", "wörd\n"), Wait("selector", selector="p")), wait=IDLE
        )
        assert response.url == site.url("/found?q=w%C3%B6rd")
        response = await renderer.render(
            site.url(), actions=(Type("#q", "x"), Click("#go")), wait=IDLE
        )
        assert response.url == site.url("/found?q=x")


async def test_what_an_action_does_not_find_is_said(
    renderer: Renderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fetcher.client.chromium.tab.FIND_MOST", 0.3)
    async with paging({"/": PAGE}) as site:
        for action in (Click("#none"), Type("#none", "x"), Scroll("#none")):
            response = await renderer.render(site.url(), actions=(Wait("load"), action))
            assert "js_actions[1]" in response.message
            assert response.outcome is Outcome.TARGET


def size_of(picture: bytes | None) -> tuple[int, int]:
    assert picture is not None and picture.startswith(b"\x89PNG\r\n")
    return int.from_bytes(picture[16:20], "big"), int.from_bytes(picture[20:24], "big")


async def test_pictures_are_of_the_window_or_of_the_whole_page(renderer: Renderer) -> None:
    page = PAGE + "<div style='height: 3000px'></div>"
    endless = PAGE + "<div style='height: 1000000px'></div>"
    async with paging({"/": page, "/endless": endless}) as site:
        response = await renderer.render(site.url(), screenshot="view", width=640, height=480)
        assert size_of(seen(response).screenshot) == (640, 480)
        response = await renderer.render(site.url(), screenshot="full", width=640, height=480)
        width, height = size_of(seen(response).screenshot)
        assert width == 640 and 3000 < height < 3200
        response = await renderer.render(site.url("/endless"), screenshot="full", width=640)
        assert size_of(seen(response).screenshot) == (640, 16_384)


async def test_answers_are_captured_in_order_with_their_limits(
    renderer: Renderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (
        PAGE
        + """<script>(async () => {
      await fetch('/a'); const x = new XMLHttpRequest(); x.open('GET', '/b'); x.send();
      await new Promise(r => x.onload = r); await fetch('/gone').catch(() => 0); })()</script>"""
    )
    pages = {
        "/": page,
        "/a": (200, {"Content-Type": "application/json"}, json.dumps({"n": 1})),
        "/b": "b" * 1000,
        "/gone": (500, {}, ""),
    }
    async with paging(pages) as site:
        response = await renderer.render(site.url(), wait=IDLE, capture=frozenset({"xhr"}))
        captured = seen(response).captured
        assert captured is not None
        assert [(one.url, one.status, one.cut) for one in captured] == [
            (site.url("/a"), 200, False),
            (site.url("/b"), 200, False),
            (site.url("/gone"), 500, False),
        ]
        assert captured[0].content == b'{"n": 1}' and captured[0].type == "application/json"
        monkeypatch.setattr("fetcher.client.chromium.capture.MOST_BYTES", 100)
        monkeypatch.setattr("fetcher.client.chromium.capture.MOST", 2)
        response = await renderer.render(site.url(), wait=IDLE, capture=frozenset({"fetch"}))
        captured = seen(response).captured
        assert captured is not None
        assert len(captured) == 2 and sum(len(one.content) for one in captured) == 100
        assert any(one.cut for one in captured)


async def test_content_has_its_limit(renderer: Renderer) -> None:
    page = PAGE + "<script>document.body.append('ä'.repeat(1000))</script>"
    async with paging({"/": page, "/long": PAGE + "x" * 2000}) as site:
        response = await renderer.render(site.url(), request={"max_body": 500})
        assert 498 <= len(response.body) <= 500
        response.body.decode()
        response = await renderer.render(site.url("/long"), request={"max_body": 500})
        assert response.outcome is Outcome.OURS and "max_body is 500" in response.message
        assert response.status == 200


async def test_all_that_a_page_loads_has_its_limit(renderer: Renderer) -> None:
    page = PAGE + "<script>(async()=>{for(;;) await fetch('/big?' + Math.random())})()</script>"
    async with paging({"/": page, "/big": "x" * 100_000}) as site:
        await renderer.render(
            site.url(), wait=Wait("time", 1.0), request={"max_body": 200_000}, timeout=10
        )
    assert (
        5 <= sum(path.startswith("/big") for path in site.paths()) <= 10
    )  # four times 200,000 bytes


@pytest.mark.parametrize(
    "fields",
    [
        {"Content-Type": "application/zip"},
        {"Content-Disposition": "attachment; filename=x.html"},
        {"Content-Type": "application/octet-stream"},
    ],
)
async def test_a_download_is_told_by_its_head(renderer: Renderer, fields: dict[str, str]) -> None:
    async with paging({"/": (200, {"X-Own": "z", **fields}, "PK")}) as site:
        response = await renderer.render(site.url())
    assert response.outcome is Outcome.OURS
    assert "fetch it without rendering" in response.message
    assert response.status == 200 and b"X-Own: z\r\n" in response.head


async def test_what_is_refused_is_said_in_the_listeners_words(renderer: Renderer) -> None:
    async with paging({"/": PAGE}) as site:
        response = await renderer.render(site.url(), trust=Trust.GUARDED)
        assert response.outcome is Outcome.OURS and response.code == Code.ABORTED_BY_CALLBACK
        assert "127.0.0.1 is not public" in response.message
        assert not response.head and not response.status
        response = await renderer.render(site.url().replace("http:", "https:"), trust=Trust.GUARDED)
        assert "127.0.0.1 is not public" in response.message
    response = await renderer.render(site.url())
    assert response.outcome is Outcome.TARGET and response.code == Code.COULDNT_CONNECT
    assert site.paths() == []


async def test_what_is_refused_to_a_page_that_leads_on_is_no_answer_of_the_site(
    renderer: Renderer,
) -> None:
    async with paging({"/": "<script>location = '/b?' + 'q'.repeat(100000)</script>"}) as site:
        response = await renderer.render(site.url(), wait=IDLE)
        assert set(site.paths()) <= {"/", "/favicon.ico"}
    assert response.outcome is Outcome.OURS and response.code == Code.URL_MALFORMAT
    assert not response.head and not response.status
    assert "are taken" in response.message


async def test_what_is_refused_is_waited_for_no_longer_whatever_its_status(
    renderer: Renderer,
) -> None:
    wait = Wait("selector", selector="#never")
    async with paging({}) as site:
        response = await renderer.render(site.url("/?" + "q" * 100_000), wait=wait, timeout=8)
    assert response.outcome is Outcome.OURS and response.code == Code.URL_MALFORMAT
    assert not response.head and not response.status


async def test_an_answer_that_never_comes_ends_with_the_deadline(renderer: Renderer) -> None:
    async with paging({"/": lambda head: None}) as site:
        response = await renderer.render(site.url(), timeout=1.5)
        assert response.code == Code.OPERATION_TIMEDOUT
        assert response.message == (
            "Operation timed out after 1500 milliseconds, while it was loading"
        )


async def test_a_page_that_is_never_quiet_or_never_loaded_is_taken_as_it_is(
    renderer: Renderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fetcher.client.chromium.tab.IDLE_MOST", 1.0)
    busy = WRITES + "<script>setInterval(() => fetch('/poll'), 100)</script>"
    hangs = WRITES + "<script async src=/never></script>"
    async with paging({"/": busy, "/poll": "x", "/b": hangs, "/never": lambda _: None}) as site:
        assert "written" in text(await renderer.render(site.url(), wait=IDLE))
        assert "written" in text(await renderer.render(site.url("/b"), wait=IDLE, timeout=3))


async def test_two_pages_of_a_context_would_share_files_and_two_contexts_do_not(
    renderer: Renderer,
) -> None:
    kept = (200, {"Cache-Control": "max-age=3600", "Content-Type": "text/css"}, "p { color: red }")
    page = "<link rel=stylesheet href=/s.css><script>if (!location.hash) setTimeout(() => {"
    page += "location.href = '/b' }, 50)</script>" + PAGE
    pages = {"/": page, "/b": "<link rel=stylesheet href=/s.css>" + PAGE, "/s.css": kept}
    async with paging(pages) as site:
        for times in (1, 2):
            await renderer.render(site.url(), wait=Wait("time", 0.5))
            assert site.paths().count("/b") == times
            assert site.paths().count("/s.css") == times  # the cache is on


async def test_it_is_no_secret_what_its_exit_was(renderer: Renderer) -> None:
    async with paging({"/": PAGE}) as site:
        response = await renderer.render(site.url())
    assert seen(response).proxy is None and seen(response).attempts == 1
    assert b"X-Fetch" not in response.head


async def test_permissions_are_denied_and_service_workers_none(renderer: Renderer) -> None:
    script = """async () => {
      const names = ['geolocation', 'notifications', 'camera', 'microphone', 'clipboard-read'];
      const states = [];
      for (const name of names) states.push((await navigator.permissions.query({name})).state);
      let worker = 'none';
      try { worker = String(await navigator.serviceWorker.register('/sw.js')) } catch (e) {}
      return [states.includes('granted'), worker, String(window.open('/popup'))] }"""
    async with paging(
        {"/": PAGE, "/sw.js": (200, {"Content-Type": "text/javascript"}, "")}
    ) as site:
        response = await renderer.render(site.url(), script=script)
        granted, registered, popup = seen(response).script_result
    assert not granted and registered in ("none", "undefined") and popup == "null"
    assert not {"/sw.js", "/popup"} & set(site.paths())


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "chrome://version", "chrome://crash", "view-source:http://x.localhost/"],
)
async def test_pages_lead_to_no_other_schemes(renderer: Renderer, url: str) -> None:
    page = PAGE + f"<a id=b href='{url}'>b</a><iframe src='{url}'></iframe>"
    page += f"<script>setTimeout(() => {{ location = '{url}' }}, 50)</script>"
    async with paging({"/": page}) as site:
        response = await renderer.render(
            site.url(), actions=(Click("#b"), Wait("time", 0.3)), timeout=10
        )
    assert response.url == site.url() and "root:" not in text(response)


async def test_a_certificate_of_the_tasks_own_is_refused(renderer: Renderer) -> None:
    async with paging({"/": PAGE}) as site:
        response = await renderer.render(site.url(), request={"client_cert": "/x.pem"})
    assert response.outcome is Outcome.TARGET and "client_cert" in response.message
    assert site.asked == []
