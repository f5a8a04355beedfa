"""What pyspider's own tests ask of a fetcher, over the queues, in Python, and over XML-RPC."""

import base64
import time
from typing import Any

import msgspec
import pytest

from fetchpool.farm import Farm, Kind
from tests.e2e.component import Component, unpack_value
from tests.e2e.conftest import Start
from tests.e2e.pages import redirect_to
from tests.e2e.pyspider import cookies_of, failure, headers_of, page_of, text_of
from tests.e2e.rpc import RpcServer

pytestmark = pytest.mark.timeout(60)

MARKED = "[BASE64-DATA]%s[/BASE64-DATA]"


def sample(url: str, **fetch: Any) -> dict[str, Any]:
    """The task that pyspider's tests send with small changes."""
    options = {
        "method": "GET",
        "headers": {"Cookie": "a=b", "a": "b"},
        "cookies": {"c": "d"},
        "timeout": 60,
        "save": "abc",
    }
    return {
        "taskid": "taskid",
        "project": "project",
        "url": url,
        "fetch": options | fetch,
        "process": {"callback": "callback", "save": [1, 2, 3]},
    }


def marked(body: bytes) -> str:
    return MARKED % base64.b64encode(body).decode()


# -- plain fetches ---------------------------------------------------------------------------


async def test_a_get_sends_headers_and_cookies_and_brings_all_of_the_result(component: Component):
    sent = sample(component.url + "/get")
    task, result = await component.run(sent)
    assert task == sent
    assert result["status_code"] == 200
    assert result["orig_url"] == result["url"] == sent["url"]
    assert result["save"] == "abc"
    assert headers_of(result)["A"] == "b"
    assert cookies_of(result) == ["a=b", "c=d"]
    assert result["cookies"] == {"a": "b", "c": "d"}
    assert 0 < result["time"] < 10
    assert "error" not in result
    assert "traceback" not in result
    assert failure(result) is None


async def test_a_post_of_text_arrives_as_a_form(component: Component):
    sent = sample(component.url + "/post", method="POST", data="binux")
    _, result = await component.run(sent)
    assert (result["status_code"], result["orig_url"]) == (200, sent["url"])
    assert result["save"] == "abc"
    assert page_of(result)["form"] == {"binux": ""}
    assert headers_of(result)["A"] == "b"
    assert cookies_of(result) == ["a=b", "c=d"]


async def test_a_data_url_needs_no_network(component: Component):
    sent = sample("data:,hello")
    task, result = await component.run(sent)
    assert task == sent
    assert (result["status_code"], text_of(result)) == (200, "hello")
    assert (result["orig_url"], result["url"]) == ("data:,hello", "data:,hello")
    assert (result["save"], result["cookies"]) == ("abc", {})
    assert failure(result) is None


async def test_what_python_callers_get_is_what_the_queue_gives(component: Component):
    for url in ("data:,hello", component.url + "/get", component.url + "/status/404"):
        _, queued = await component.run(sample(url))
        direct = await component.fetcher.fetch(sample(url))
        ours = msgspec.to_builtins(direct, builtin_types=(bytes,))
        changing = {"time", "timing", "headers"}
        assert {k: v for k, v in ours.items() if k not in changing} == {
            k: v for k, v in queued.items() if k not in changing
        }


async def test_xml_rpc_answers_a_fetch_with_a_packed_result(component: Component):
    async with RpcServer(component) as rpc:
        binary = await rpc.call("fetch", sample("data:,hello"))
        result = unpack_value(binary.data)
        assert (result["status_code"], text_of(result)) == (200, "hello")
        assert result["save"] == "abc"
    assert await component.length("fetcher2processor") == 0


async def test_a_base64_marker_becomes_the_bytes_of_a_body(component: Component):
    text = "中文"
    sent = sample(component.url + "/post", method="POST", data=marked(text.encode()))
    task, result = await component.run(sent)
    assert result["status_code"] == 200
    [name] = page_of(result)["form"]  # the farm shows bytes that are not encoded as latin-1
    assert name.encode("latin-1").decode() == text
    assert component.origin.requests[-1].body == text.encode()
    assert task["fetch"]["data"] == text.encode()
    assert {**task, "fetch": {**task["fetch"], "data": None}} == {
        **sent,
        "fetch": {**sent["fetch"], "data": None},
    }


async def test_a_base64_marker_may_hold_what_is_no_utf_8(component: Component):
    body = "中文".encode("gbk")
    sent = sample(component.url + "/post", method="POST", data=marked(body))
    task, result = await component.run(sent)
    assert result["status_code"] == 200
    assert page_of(result)["method"] == "POST"
    assert component.origin.requests[-1].body == body
    assert task["fetch"]["data"] == body


# -- failures --------------------------------------------------------------------------------


async def test_a_time_out_is_kept(component: Component):
    sent = sample(component.url + "/delay/5", timeout=0.6)
    started = time.monotonic()
    _, result = await component.run(sent)
    assert 0.3 < time.monotonic() - started < 2.5
    assert (result["status_code"], result["orig_url"]) == (599, sent["url"])
    assert result["save"] == "abc"
    assert "timed out" in result["error"]
    assert result["traceback"] is None
    assert failure(result) == result["error"]


async def test_a_teapot_is_a_result_with_its_body(component: Component):
    _, result = await component.run(sample(component.url + "/status/418"))
    assert result["status_code"] == 418
    assert "teapot" in text_of(result)
    assert result["error"].startswith("HTTP 418: ")


async def test_a_name_that_does_not_exist_is_a_result_that_says_so(component: Component):
    sent = sample("http://www.not-exists-site.invalid/")
    _, queued = await component.run(sent)
    direct = await component.fetcher.fetch(sent)
    for status, error in (
        (queued["status_code"], queued["error"]),
        (direct.status_code, direct.error),
    ):
        assert status == 599
        assert "resolve" in str(error)


@pytest.mark.parametrize(
    ("fetch_type", "name"),
    [
        ("js", "phantomjs"),
        ("phantomjs", "phantomjs"),
        ("splash", "splash"),
        ("puppeteer", "puppeteer"),
    ],
)
async def test_a_renderer_that_is_not_there_answers_501(component, fetch_type, name):
    sent = sample(component.url + "/get", fetch_type=fetch_type, js_script="function(){}")
    _, result = await component.run(sent)
    assert result["status_code"] == 501
    assert text_of(result).startswith(f"{name} is not enabled. ")
    assert (result["headers"], result["cookies"], result["save"]) == ({}, {}, "abc")
    assert result["orig_url"] == result["url"] == sent["url"]
    assert "error" not in result
    assert not component.origin.requests


async def test_a_fetch_type_that_is_no_renderers_is_a_plain_fetch(component: Component):
    for fetch_type in ("foo", "", None):
        _, result = await component.run(sample(component.url + "/get", fetch_type=fetch_type))
        assert result["status_code"] == 200


async def test_a_data_url_is_never_rendered(component: Component):
    _, result = await component.run(sample("data:,hello", fetch_type="js"))
    assert (result["status_code"], text_of(result)) == (200, "hello")


# -- redirects and cookies -------------------------------------------------------------------


async def test_a_redirect_shows_where_it_led(component: Component):
    sent = sample(redirect_to(component.url, "/get"))
    _, result = await component.run(sent)
    assert (result["status_code"], result["orig_url"]) == (200, sent["url"])
    assert result["url"] == component.url + "/get"


async def test_too_many_redirects_are_a_failure_that_says_so(component: Component):
    _, result = await component.run(sample(component.url + "/redirect/10"))
    assert result["status_code"] == 599
    assert "redirects followed" in result["error"]


@pytest.mark.parametrize(("limit", "status"), [(0, 599), (2, 599), (3, 200), (4, 200), (10, 200)])
async def test_max_redirects_are_followed_and_not_one_more(component, limit, status):
    sent = sample(component.url + "/redirect/3", max_redirects=limit)
    _, result = await component.run(sent)
    assert result["status_code"] == status
    assert result.get("error") == (
        None if status == 200 else f"HTTP 599: Maximum ({limit}) redirects followed"
    )
    assert len(component.origin.requests) == min(limit, 3) + 1


async def test_the_results_cookies_are_the_tasks_and_the_servers(component: Component):
    sent = sample(component.url + "/cookies/set?k1=v1&k2=v2")
    sent["fetch"]["headers"] = {"Cookie": "a=b"}
    _, result = await component.run(sent)
    assert result["status_code"] == 200
    assert result["cookies"] == {"a": "b", "c": "d", "k1": "v1", "k2": "v2"}
    assert page_of(result)["cookies"] == result["cookies"]


# -- certificates ----------------------------------------------------------------------------


async def test_validate_cert_means_nothing_to_plain_http(component: Component):
    _, result = await component.run(sample(component.url + "/get", validate_cert=False))
    assert result["status_code"] == 200


async def test_an_untrusted_certificate_counts_only_where_it_is_validated(start: Start):
    async with start(fetcher={"ca_file": None}) as component:
        url = component.origin.https_url + "/get"
        _, checked = await component.run(sample(url, validate_cert=True))
        _, unchecked = await component.run(sample(url, validate_cert=False))
    assert checked["status_code"] == 599
    assert "certificate" in checked["error"]
    assert (unchecked["status_code"], unchecked["url"]) == (200, url)


# -- proxies ---------------------------------------------------------------------------------


async def test_the_default_proxy_without_credentials_refuses_visibly(start: Start, farm: Farm):
    async with start(fetcher={"proxy": farm.one(Kind.AUTH).address}) as component:
        _, result = await component.run(sample(component.url + "/get"))
    assert result["status_code"] == 407
    assert result["error"] == "HTTP 407: Proxy Authentication Required"
    assert not component.origin.requests


@pytest.mark.parametrize("form", ["http://{}", "http://{}/", "{}"])
async def test_the_default_proxy_takes_its_credentials_from_its_url(start, farm, form):
    proxy = farm.one(Kind.AUTH)
    url = form.format(proxy.url().removeprefix("http://"))
    async with start(fetcher={"proxy": url}) as component:
        sent = sample(component.url + "/get")
        _, result = await component.run(sent)
    assert (result["status_code"], result["orig_url"], result["save"]) == (200, sent["url"], "abc")
    assert headers_of(result)["A"] == "b"
    assert cookies_of(result) == ["a=b", "c=d"]
    assert page_of(result)["origin"] == proxy.exit_host


# -- robots.txt ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "robots", "status"),
    [("/deny", False, 200), ("/deny", True, 403), ("/get", True, 200), ("/deny", None, 200)],
)
async def test_robots_txt_counts_where_it_is_asked_for(component, path, robots, status):
    _, result = await component.run(sample(component.url + path, robots_txt=robots))
    assert result["status_code"] == status
    asked = [request.target for request in component.origin.requests]
    assert asked == (["/robots.txt"] if robots else []) + ([path] if status == 200 else [])
    if status == 403:
        assert result["error"] == "HTTP 403: Disallowed by robots.txt"
        assert (result["traceback"], result["content"], result["save"]) == (None, b"", "abc")
