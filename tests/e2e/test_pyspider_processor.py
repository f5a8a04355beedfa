"""From a project's `crawl()` through the fetcher to what its processor sees: typical tasks."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterator
from email import message_from_bytes
from email.policy import HTTP
from typing import Any

import pytest
from pyquery import PyQuery

from fetchpool.farm import Farm, Kind, SeenRequest
from tests.e2e.component import Component
from tests.e2e.conftest import Start
from tests.e2e.pages import redirect_to, set_cookies
from tests.e2e.pyspider import (
    cookies_of,
    crawl,
    failure,
    headers_of,
    page_of,
    text_of,
    track_of,
)

pytestmark = pytest.mark.timeout(60)

HOUSEKEEPING = ["_on_get_info", "_on_cronjob", "on_start", "on_finished", "on_message"]
CHINESE = "中文"


def parts_of(seen: SeenRequest) -> dict[Any, tuple[str | None, Any]]:
    """The parts of a multipart body that arrived: name -> (file name, content)."""
    head = f"Content-Type: {seen.get('Content-Type')}\r\n\r\n".encode()
    return {
        part.get_param("name", header="content-disposition"): (
            part.get_filename(),
            part.get_payload(decode=True),
        )
        for part in message_from_bytes(head + seen.body, policy=HTTP).iter_parts()
    }


async def crawled(component: Component, url: str, **options: Any) -> dict[str, Any]:
    """The result of `crawl(url, ...)`; the task came back as it was sent."""
    sent = crawl(url, **options)
    task, result = await component.run(sent)
    assert task == sent
    return result


# -- housekeeping, saves, identity -----------------------------------------------------------


@pytest.mark.parametrize("name", HOUSEKEEPING)
async def test_housekeeping_tasks_come_back_as_text_that_names_them(component, name):
    save = ["delay_get_info", "crawl_config"] if name == "_on_get_info" else {"tick": 7}
    result = await crawled(component, "data:," + name, taskid=name, save=save)
    assert (result["status_code"], text_of(result), result["save"]) == (200, name, save)
    track = track_of(result)["fetch"]
    assert track["ok"] is True
    assert (track["error"], track["content"], track["headers"]) == (None, None, {})
    assert track["redirect_url"] is None


SAVES: list[Any] = [
    "abc", 7, 1.5, True, None, [1, [2]], {"title": CHINESE, "n": {"deep": [None]}}, b"\xff\x00", {},
]  # fmt: skip


@pytest.mark.parametrize("save", SAVES)
async def test_a_save_comes_through_with_its_types(component, save):
    for url in ("data:,", component.url + "/get", "http://127.0.0.1:1/"):
        result = await crawled(component, url, save=save)
        assert result["save"] == save
        assert type(result["save"]) is type(save)


async def test_the_task_comes_back_with_all_that_the_processor_needs(component: Component):
    track = {"save": {"last": 3}, "fetch": {"ok": True}, "process": {"ok": True}}
    sent = crawl(
        component.url + "/get", taskid="my-own", priority=3, age=60, itag="v1", track=track
    )
    sent |= {"lastcrawltime": 1.25, "unknown": {"nested": [b"\x80", None, -1]}, "group": "g"}
    task, result = await component.run(sent)
    assert task == sent
    assert list(task) == list(sent)
    assert result["status_code"] == 200


# -- status codes ----------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 404, 418, 500, 503])
async def test_an_error_page_is_kept_for_callbacks_that_opt_in(component, status):
    result = await crawled(component, f"{component.url}/status/{status}")
    assert result["status_code"] == status
    assert f"HTTP {status}" in str(failure(result))
    assert result["headers"]["Content-Length"] == str(len(result["content"]))
    assert ("teapot" in text_of(result)) == (status == 418)
    track = track_of(result, ok=False)["fetch"]
    assert (track["ok"], track["status_code"]) == (False, status)
    assert track["content"] == text_of(result)


async def test_a_redirect_that_is_not_followed_is_the_result(component: Component):
    url = redirect_to(component.url, "/get")
    result = await crawled(component, url, allow_redirects=False)
    assert (result["status_code"], result["url"]) == (302, url)
    assert result["headers"]["Location"] == "/get"
    assert result["error"] == "HTTP 302: Found"


async def test_a_redirect_is_told_to_the_next_crawl(component: Component):
    result = await crawled(component, redirect_to(component.url, "/get"))
    assert track_of(result)["fetch"]["redirect_url"] == component.url + "/get"


async def test_too_many_redirects_fail_the_crawl(component: Component):
    result = await crawled(component, component.url + "/redirect/10")
    assert result["status_code"] == 599
    assert "redirects followed" in str(failure(result))


# -- methods, parameters, bodies -------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_each_method_arrives_as_it_is(component, method):
    data = {"data": ""} if method in ("POST", "PUT", "PATCH") else {}
    result = await crawled(component, component.url + "/anything", method=method, **data)
    assert failure(result) is None
    assert page_of(result)["method"] == method


async def test_the_wrong_method_is_refused_by_the_site(component: Component):
    result = await crawled(component, component.url + "/only/delete", method="DELETE")
    assert failure(result) is None
    result = await crawled(component, component.url + "/only/get", method="DELETE")
    assert result["status_code"] == 405


async def test_a_head_has_headers_and_no_content(component: Component):
    result = await crawled(component, component.url + "/bytes/100", method="HEAD")
    assert (result["status_code"], result["content"]) == (200, b"")
    assert result["headers"]["Content-Length"] == "100"


async def test_parameters_arrive(component: Component):
    params = {"roy": "binux", "u": CHINESE, "list": ["a", "b"], "text": "a b&c=d"}
    result = await crawled(component, component.url + "/get", params=params)
    assert page_of(result)["args"] == params


async def test_a_form_arrives(component: Component):
    form = {"roy": "binux", "u": CHINESE, "text": "a b&c=d+e"}
    result = await crawled(component, component.url + "/post", data=form)
    assert (page_of(result)["method"], page_of(result)["form"]) == ("POST", form)
    assert headers_of(result)["Content-Type"] == "application/x-www-form-urlencoded"


async def test_json_arrives_as_what_it_is_called(component: Component):
    headers = {"Content-Type": "application/json"}
    result = await crawled(component, component.url + "/post", data='{"a": [1]}', headers=headers)
    assert page_of(result)["json"] == {"a": [1]}
    assert headers_of(result)["Content-Type"] == "application/json"


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("form", [{}, {"roy": "binux", "u": CHINESE}])
async def test_files_arrive_with_the_fields_beside_them(component, method, form):
    content = bytes(range(256)) * 100
    files = {"file": ("name.bin", content), "other": ("b.txt", b"text")}
    result = await crawled(
        component, component.url + "/anything", method=method, files=files, data=form
    )
    assert failure(result) is None
    seen = component.origin.requests[-1]
    assert seen.method == method
    assert parts_of(seen) == {
        **{name: (None, text.encode()) for name, text in form.items()},
        "file": ("name.bin", content),
        "other": ("b.txt", b"text"),
    }


# -- headers and cookies ---------------------------------------------------------------------


async def test_headers_arrive_in_their_usual_spelling(component: Component):
    result = await crawled(component, component.url + "/get", headers={"a": "b", "C-d": "e-F"})
    sent = headers_of(result)
    assert (sent["A"], sent["C-D"]) == ("b", "e-F")


async def test_a_user_agent_arrives(component: Component):
    result = await crawled(component, component.url + "/get", user_agent="binux")
    assert headers_of(result)["User-Agent"] == "binux"


async def test_cookies_arrive(component: Component):
    result = await crawled(component, component.url + "/get", cookies={"a": "b", "C-d": "e-F"})
    assert cookies_of(result) == ["C-d=e-F", "a=b"]


async def test_cookies_join_those_of_the_cookie_header(component: Component):
    result = await crawled(
        component,
        component.url + "/get",
        cookies={"a": "b", "C-d": "e-F"},
        headers={"Cookie": "g=h; I=j"},
    )
    assert cookies_of(result) == ["C-d=e-F", "I=j", "a=b", "g=h"]


async def test_cookies_of_a_response_are_in_its_result(component: Component):
    url = component.url + "/cookies/set?k1=v1&k2=v2"
    result = await crawled(component, url, allow_redirects=False)
    assert result["cookies"] == {"k1": "v1", "k2": "v2"}


async def test_cookies_of_a_redirect_reach_the_next_hop(component: Component):
    result = await crawled(component, component.url + "/cookies/set?k1=v1&k2=v2")
    assert page_of(result)["cookies"] == result["cookies"] == {"k1": "v1", "k2": "v2"}


async def test_a_login_keeps_its_cookies_from_http_over_https_to_www(component: Component):
    """Each hop's Cookie header by RFC 6265: a host's own, the domain's, and the secure ones."""
    home = "https://www.farm.test/get"
    secure = set_cookies(
        "https://shop.farm.test", "token=t; Domain=farm.test; Secure; HttpOnly", to=home
    )
    login = set_cookies(
        "http://shop.farm.test",
        "own=1; Path=/",
        "all=2; Domain=.farm.test; Path=/",
        "elsewhere=3; Path=/admin",
        "foreign=4; Domain=example.test",
        to=secure,
    )
    result = await crawled(
        component,
        login,
        data={"user": "u", "password": "p"},
        cookies={"lang": "en"},
        headers={"Authorization": "Basic eDp5", "X-Own": "kept"},
        proxy=component.one(Kind.GOOD),
    )
    assert failure(result) is None
    assert (result["orig_url"], result["url"]) == (login, home)
    assert [
        (seen.method, seen.get("Host"), sorted((seen.get("Cookie") or "").split("; ")))
        for seen in component.origin.requests
    ] == [
        ("POST", "shop.farm.test", ["lang=en"]),
        ("GET", "shop.farm.test", ["all=2", "lang=en", "own=1"]),
        ("GET", "www.farm.test", ["all=2", "lang=en", "token=t"]),
    ]
    assert [seen.get("Authorization") for seen in component.origin.requests] == [
        "Basic eDp5", "Basic eDp5", None,
    ]  # fmt: skip
    assert [seen.get("Content-Type") is None for seen in component.origin.requests] == [
        False, True, True,
    ]  # fmt: skip
    assert {seen.get("X-Own") for seen in component.origin.requests} == {"kept"}
    assert result["cookies"] == {
        "lang": "en", "own": "1", "all": "2", "elsewhere": "3", "token": "t",
    }  # fmt: skip


# -- time ------------------------------------------------------------------------------------


async def test_a_time_out_fails_the_crawl_at_its_time(component: Component):
    result = await crawled(component, component.url + "/delay/5", timeout=1)
    assert result["status_code"] == 599
    assert failure(result)
    assert int(result["time"]) == 1


@contextlib.contextmanager
def unreachable() -> Iterator[str]:
    """A URL that a connection is never made to: its port's queue of connections is full."""
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):  # Linux lets one more in than it was told, and answers no further SYN
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"


async def test_a_connect_timeout_ends_what_is_never_connected(component: Component):
    with unreachable() as url:
        started = time.monotonic()
        result = await crawled(component, url, connect_timeout=0.5)
        assert 0.4 < time.monotonic() - started < 3
    assert result["status_code"] == 599
    assert "timed out" in result["error"] or "Failed to connect" in result["error"]


# -- crawling again --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "field"), [({"etag": '"farm"'}, "If-None-Match"), ({"last_modified": "0"},
                                                                 "If-Modified-Since")]
)  # fmt: skip
async def test_a_validator_given_by_the_project_is_sent_and_304_is_no_failure(
    component, option, field
):
    result = await crawled(component, component.url + "/cache", **option)
    assert (result["status_code"], result["content"]) == (304, b"")
    assert failure(result) is None
    assert component.origin.requests[-1].get(field) == next(iter(option.values()))


async def test_a_page_that_has_not_changed_is_not_fetched_again(component: Component):
    url = component.url + "/cache"
    first = await crawled(component, url)
    second = await crawled(component, url, track=track_of(first))
    assert (first["status_code"], second["status_code"]) == (200, 304)
    last = component.origin.requests[-1]
    assert last.get("If-None-Match") == first["headers"]["Etag"]
    assert last.get("If-Modified-Since") == first["headers"]["Last-Modified"]
    assert failure(second) is None


@pytest.mark.parametrize(
    "options", [{"ok": False}, {"ok": True, "etag": False, "last_modified": False}]
)
async def test_a_page_whose_callback_failed_is_fetched_again(component, options):
    url = component.url + "/cache"
    ok = options.pop("ok")
    first = await crawled(component, url)
    second = await crawled(component, url, track=track_of(first, ok=ok), **options)
    assert (first["status_code"], second["status_code"]) == (200, 200)
    assert component.origin.requests[-1].get("If-None-Match") is None


# -- proxies ---------------------------------------------------------------------------------


async def test_a_task_may_refuse_the_default_proxy(start: Start, farm: Farm):
    async with start(fetcher={"proxy": farm.one(Kind.REFUSING).url()}) as component:
        for proxy in (False, None, ""):
            result = await crawled(component, component.url + "/get", proxy=proxy)
            assert (result["status_code"], page_of(result)["origin"]) == (200, "127.0.0.1")
        for options in ({}, {"proxy": True}):
            result = await crawled(component, component.url + "/get", **options)
            assert result["status_code"] == 599


async def test_a_task_may_name_its_proxy(component: Component, farm: Farm):
    proxy = farm.one(Kind.AUTH)
    for form in ("{0}", "http://{0}", "http://{0}/"):
        refused = await crawled(component, component.url + "/get", proxy=form.format(proxy.address))
        assert refused["status_code"] == 407
        granted = await crawled(
            component, component.url + "/get",
            proxy=form.format(proxy.url().removeprefix("http://")),
        )  # fmt: skip
        assert (granted["status_code"], page_of(granted)["origin"]) == (200, proxy.exit_host)


async def test_a_form_goes_through_a_proxy_whole(component: Component):
    proxy = component.one(Kind.AUTH)
    result = await crawled(component, component.url + "/post", data={"u": CHINESE}, proxy=proxy)
    assert page_of(result)["form"] == {"u": CHINESE}


# -- pages -----------------------------------------------------------------------------------


async def test_a_callback_can_follow_the_links_of_a_page(component: Component):
    first = await crawled(component, component.url + "/links/10/0")
    document = PyQuery(first["content"])
    document.make_links_absolute(first["url"])
    urls = [link.attr.href for link in document("a[href^='http']").items()]
    assert len(urls) == 9
    results = await asyncio.gather(*(crawled(component, url) for url in urls))
    assert {failure(result) for result in results} == {None}
    assert {result["orig_url"] for result in results} == set(urls)


async def test_a_page_is_read_by_its_charset(component: Component):
    result = await crawled(component, component.url + "/encoding/utf8")
    assert result["headers"]["Content-Type"] == "text/html; charset=utf-8"
    assert "コンニチハ" in text_of(result)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_a_compressed_page_arrives_decoded(component, coding):
    result = await crawled(component, f"{component.url}/{coding}")
    assert page_of(result)["gzipped" if coding == "gzip" else "deflated"] is True
    assert result["headers"]["Content-Encoding"] == coding


async def test_robots_txt_stops_a_crawl_that_asks_for_it(component: Component):
    result = await crawled(component, component.url + "/deny", robots_txt=True)
    assert result["status_code"] == 403
    assert "robots.txt" in str(failure(result))
