"""Where pyspider's fetcher loses, leaks or breaks something, and we do not: one test for each."""

import asyncio
import logging
import random
import statistics
import time
from typing import Any
from urllib.parse import quote

import pytest

from fetcher.proxy import parse_proxy
from fetcher.queue.inspect import Inspector
from fetcher.queue.lists import ListTransport
from fetcher.settings import Queue
from fetchpool.config.settings import Settings, SettingsError, parse_settings
from fetchpool.farm import Call, Farm, Kind, body_of, wire
from fetchpool.redis.connect import RedisURLError, connect, parse_url
from pool.model import Entry
from pool.settings import Score
from pool.snapshot.snapshot import Snapshot
from pool.traffic.chooser import PoolChooser
from tests.e2e.component import DEAD, IN, OUT, Component, pack, unpack_value
from tests.e2e.conftest import Start
from tests.e2e.pages import redirect_to, set_cookies
from tests.e2e.pyspider import cookies_of, failure, headers_of, page_of, text_of
from tests.e2e.rpc import RpcServer
from tests.peers import has_ipv6_loopback
from tests.serving import calling, serving
from tests.wait import wait_until

pytestmark = pytest.mark.timeout(60)


# -- lost tasks ------------------------------------------------------------------------------


async def test_a_task_of_a_dead_fetcher_is_fetched_by_another(start, farm, one_redis):
    settings = Queue(lease=1.0)
    async with connect(one_redis.url) as redis:
        dead = ListTransport(redis, settings)
        await Inspector(redis, settings).push(
            [pack({"taskid": "t", "url": farm.origin.url + "/get"})]
        )
        assert len(await dead.take(1) or []) == 1
    async with start(queue={"lease": settings.lease}) as component:
        task, result = await component.pop()
        assert (task["taskid"], result["status_code"]) == ("t", 200)
        assert await component.length(IN) == 0


NO_FETCH: list[dict[str, Any]] = [
    {"fetch": None}, {"fetch": {}}, {}, {"fetch": None, "track": None}, {"track": {"fetch": None}},
    {"track": {"process": {"ok": True}, "fetch": None}}, {"track": {"process": None}},
]  # fmt: skip


@pytest.mark.parametrize("fields", NO_FETCH)
async def test_a_task_without_a_fetch_dict_or_track_gets_a_result(component, fields):
    for url in ("data:,hello", component.url + "/html"):
        task, result = await component.run({"url": url, **fields})
        assert result["status_code"] == 200
        assert {key: task[key] for key in fields} == fields


async def test_nulls_among_the_options_mean_what_absence_means(component: Component):
    options = dict.fromkeys(
        ["method", "headers", "data", "cookies", "timeout", "connect_timeout", "etag",
         "last_modified", "user_agent", "max_redirects", "use_gzip", "validate_cert"],
    )  # fmt: skip
    result = await component.fetch(component.url + "/get", **options)
    assert result["status_code"] == 200


BROKEN: list[dict[Any, Any]] = [
    {7: "seven", "fetch": {8: "eight"}},
    {None: 1, b"\xff": 2},
    {"fetch": {"data": "[BASE64-DATA]not base64![/BASE64-DATA]", "save": 5}},
    {"url": 5},
    {"url": None},
    {"fetch": {"timeout": "soon"}},
    {"fetch": "nothing"},
    {"fetch": {"cookies": "a=b"}},
    {"fetch": {"headers": {"A": None, "B": ["c"]}}},
    {"fetch": {"proxy": "http://h:99999"}},
    {"fetch": {"method": "G E T"}},
]


@pytest.mark.parametrize("fields", BROKEN)
async def test_a_task_with_odd_keys_or_values_gets_a_result(component: Component, fields):
    sent = {"url": component.url + "/get", "project": "p", **fields}
    task, result = await component.run(sent)
    assert {key: value for key, value in task.items() if key != "taskid"} == sent
    assert result["status_code"] in (200, 599)
    assert (result["status_code"] == 599) == bool(result.get("error"))
    assert not result.get("traceback")
    assert (type(result["headers"]), type(result["cookies"])) == (dict, dict)


async def test_messages_that_are_no_tasks_are_kept_and_stop_nothing(component: Component):
    rubbish = [b"", b"\xc1", b"rubbish", pack([1, 2]), pack("text"), pack(None), b"\x81\xa1"]
    good = [pack({"taskid": n, "url": "data:,"}) for n in range(len(rubbish))]
    await component.push(*[message for pair in zip(rubbish, good, strict=True) for message in pair])
    came = [(await component.pop())[0]["taskid"] for _ in good]
    assert sorted(came) == list(range(len(good)))
    await wait_until(lambda: component.lane.dead == len(rubbish))
    assert await component.everything(DEAD) == rubbish


async def test_a_stop_finishes_what_is_in_flight(start: Start):
    async with start(fetcher={"drain": 20}) as component:
        await component.push(pack({"taskid": "t", "url": component.url + "/gate"}))
        await wait_until(lambda: component.gate.waiting)
        stop = asyncio.create_task(component.loop.stop(20))
        component.gate.opened.set()
        await stop
        task, result = await component.pop()
        assert (task["taskid"], text_of(result)) == ("t", "through the gate")


async def test_a_stop_hands_back_in_order_what_is_not_finished(start: Start):
    tasks: list[bytes] = []
    async with start(fetcher={"poolsize": 3}) as component:
        url = component.url + "/gate"
        tasks = [pack({"taskid": n, "url": url}) for n in range(5)]
        await component.push(*tasks)
        await wait_until(lambda: component.gate.waiting == 3)
        await component.loop.stop(0)
        assert await component.everything(IN) == tasks
        assert await component.length(OUT) == 0


async def test_a_result_that_cannot_be_put_away_is_kept_until_it_can(component: Component):
    await component.push(pack({"taskid": "t", "url": component.url + "/gate"}))
    await wait_until(lambda: component.gate.waiting)
    await component.redis.set(OUT, "this is no list")
    component.gate.opened.set()
    await wait_until(component.loop.problems, what="the failure to be told")
    await component.redis.delete(OUT)
    task, result = await component.pop()
    assert (task["taskid"], text_of(result)) == ("t", "through the gate")


# -- speed -----------------------------------------------------------------------------------


async def test_a_lone_task_does_not_wait_for_a_tick(component: Component):
    took = []
    for _ in range(15):
        started = time.monotonic()
        await component.run({"url": "data:,"})
        took.append(time.monotonic() - started)
    assert statistics.median(took) < 0.05  # pyspider's median: 0.087


async def test_a_place_that_is_free_is_taken_before_the_next_tick(start: Start):
    async with start(fetcher={"poolsize": 2}) as component:
        started = time.monotonic()
        url = component.url + "/get"
        await asyncio.gather(*(component.run({"url": url}) for _ in range(40)))
        assert time.monotonic() - started < 1.5  # 20 ticks are 2 s


async def test_a_full_out_queue_stops_the_taking_and_nothing_else(start: Start):
    async with start(queue={"maxsize": 3}, fetcher={"poolsize": 5}) as component:
        await component.push(*(pack({"taskid": n, "url": "data:,"}) for n in range(20)))
        await wait_until(lambda: component.lane.full, what="the out queue to be found full")
        assert 3 <= await component.length(OUT) < 3 + 5
        started = time.monotonic()
        result = await component.fetcher.fetch(component.url + "/get")
        assert result.status_code == 200
        assert time.monotonic() - started < 1  # pyspider's stands still until the queue is read
        came = [(await component.pop())[0]["taskid"] for _ in range(20)]
    assert came == list(range(20))


async def test_redis_is_asked_less_than_once_for_each_task(component: Component):
    async def calls() -> int:
        stats = await component.redis.info("commandstats")
        return sum(stats.get("cmdstat_" + name, {}).get("calls", 0) for name in ("eval", "evalsha"))

    before = await calls()
    count = 400
    await component.push(*(pack({"taskid": n, "url": "data:,"}) for n in range(count)))
    await wait_until(lambda: component.lane.finished == count, timeout=20)
    assert await calls() - before < count / 4  # pyspider: three for each


async def test_no_task_is_logged_line_by_line_and_no_secret_at_all(
    component: Component, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    secrets = ["s3cret-proxy", "s3cret-cookie", "s3cret-header", "s3cret-url", "s3cret-body"]
    options = {
        "proxy": f"http://user:{secrets[0]}@127.0.0.1:1",
        "cookies": {"session": secrets[1]},
        "headers": {"Authorization": secrets[2]},
        "method": "POST",
        "data": secrets[4],
    }
    url = component.url.replace("http://", f"http://user:{secrets[3]}@")
    failed = await component.fetch(url + "/get", **options)
    refused = await component.fetch(url + "/get", **options | {"method": "A B"})
    worked = await component.fetch(url + "/get", **options | {"proxy": None})
    assert (failed["status_code"], refused["status_code"], worked["status_code"]) == (599, 599, 200)
    for secret in secrets:
        assert secret not in caplog.text
        for result in (failed, refused):
            assert secret not in result["error"]
            assert secret not in str(result.get("proxy"))
    assert not [record for record in caplog.records if record.levelno >= logging.INFO]


# -- security --------------------------------------------------------------------------------


async def test_a_proxys_credentials_reach_no_other_proxy(component: Component, farm: Farm):
    keeper, stranger = farm.one(Kind.AUTH), farm.one(Kind.GOOD)
    for _ in range(3):
        for url in (component.url, component.origin.https_url):
            own = await component.fetch(url + "/get", proxy=keeper.url())
            other = await component.fetch(url + "/get", proxy=stranger.url())
            bare = await component.fetch(component.url + "/get", proxy=keeper.address)
            statuses = (own["status_code"], other["status_code"], bare["status_code"])
            assert statuses == (200, 200, 407)
    for head in stranger.seen:
        assert not [name for name, _ in head.fields if name.lower() == "proxy-authorization"]
    assert not [seen for seen in component.origin.requests if seen.get("Proxy-Authorization")]


@pytest.mark.parametrize(
    ("target", "authorization", "cookie"),
    [
        ("http://shop.farm.test/get", True, True),
        ("https://shop.farm.test/get", True, True),
        ("http://www.farm.test/get", False, True),
        ("https://www.farm.test/get", False, True),
        ("http://elsewhere.test/get", False, False),
        ("http://farm.test.elsewhere.test/get", False, False),
    ],
)
async def test_secrets_do_not_follow_a_redirect_to_another_place(
    component, target, authorization, cookie
):
    result = await component.fetch(
        redirect_to("http://shop.farm.test", target),
        headers={"Authorization": "Bearer t", "Cookie": "a=b", "X-Own": "1"},
        cookies={"c": "d"},
        proxy=component.one(Kind.GOOD),
    )
    assert (result["status_code"], result["url"]) == (200, target)
    sent = headers_of(result)
    assert ("Authorization" in sent, "Cookie" in sent) == (authorization, cookie)
    assert sent["X-Own"] == "1"


async def test_task_cookies_do_not_go_from_https_down_to_http(component: Component):
    result = await component.fetch(
        redirect_to("https://shop.farm.test", "http://shop.farm.test/get"),
        cookies={"c": "d"},
        proxy=component.one(Kind.GOOD),
    )
    assert "Cookie" not in headers_of(result)


@pytest.mark.parametrize(
    "options",
    [
        {"headers": {"A": "b\r\nX-Injected: 1"}},
        {"headers": {"A": "b\nX-Injected: 1"}},
        {"headers": {"A\r\nX-Injected": "1"}},
        {"headers": {"Cookie": "a=b\r\nX-Injected: 1"}},
        {"cookies": {"a": "b\r\nX-Injected: 1"}},
        {"user_agent": "b\r\nX-Injected: 1"},
        {"etag": "b\r\nX-Injected: 1"},
        {"method": "GET / HTTP/1.1\r\nX-Injected: 1"},
    ],
)
async def test_no_header_can_be_smuggled_in(component: Component, options):
    result = await component.fetch(component.url + "/get", **options)
    assert result["status_code"] == 599
    assert result["error"]
    assert not component.origin.requests


def test_xml_rpc_is_off_and_never_open_to_others_without_a_key():
    rpc = Settings().fetcher.rpc
    assert (rpc.enabled, rpc.host) == (False, "127.0.0.1")
    tree = {"fetcher": {"rpc": {"enabled": True, "host": "0.0.0.0"}}}
    with pytest.raises(SettingsError, match="needs a key"):
        parse_settings(tree, env={})


# -- HTTP ------------------------------------------------------------------------------------

REDIRECTS = [
    (301, "GET", "GET"), (301, "HEAD", "HEAD"), (301, "POST", "GET"), (301, "PUT", "PUT"),
    (302, "GET", "GET"), (302, "HEAD", "HEAD"), (302, "POST", "GET"), (302, "PUT", "PUT"),
    (303, "GET", "GET"), (303, "HEAD", "HEAD"), (303, "POST", "GET"), (303, "PUT", "GET"),
    (307, "GET", "GET"), (307, "HEAD", "HEAD"), (307, "POST", "POST"), (307, "PUT", "PUT"),
    (308, "GET", "GET"), (308, "HEAD", "HEAD"), (308, "POST", "POST"), (308, "PUT", "PUT"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "method", "then"), REDIRECTS)
async def test_redirects_change_methods_as_browsers_do(component, status, method, then):
    url = redirect_to(component.url, "/anything", status)
    body = {"data": "a=b"} if method in ("POST", "PUT") else {}
    result = await component.fetch(url, method=method, **body)
    assert (result["status_code"], result["url"]) == (200, component.url + "/anything")
    last = component.origin.requests[-1]
    assert last.method == then
    kept = bool(body) and then == method
    assert last.body == (b"a=b" if kept else b"")
    assert (last.get("Content-Type") is not None) == (kept and method == "POST")


@pytest.mark.parametrize(
    ("location", "arrives"),
    [
        ("/anything/中", "/anything/%E4%B8%AD"),
        ("/anything/a b", "/anything/a%20b"),
        ("/anything/é?q=ü x", "/anything/%C3%A9?q=%C3%BC%20x"),
        ("/anything/%E4%B8%AD", "/anything/%E4%B8%AD"),
    ],
)
async def test_a_location_is_encoded_once_whatever_it_holds(component, location, arrives):
    result = await component.fetch(
        component.url + "/raw-location?to=" + location.replace(" ", "+").replace("%", "%25")
    )
    assert result["status_code"] == 200
    assert component.origin.requests[-1].target == arrives


@pytest.mark.parametrize(
    ("path", "arrives"),
    [
        ("/anything/a b", "/anything/a%20b"),
        ("/anything/中文?词=语", "/anything/%E4%B8%AD%E6%96%87?%E8%AF%8D=%E8%AF%AD"),
        ("/anything/a#part", "/anything/a"),
    ],
)
async def test_a_start_url_is_encoded_as_people_write_it(component, path, arrives):
    result = await component.fetch(component.url + path)
    assert (result["status_code"], result["orig_url"]) == (200, component.url + path)
    assert component.origin.requests[-1].target == arrives


async def test_a_host_that_is_not_ascii_is_asked_for_by_its_idna_name(component: Component):
    result = await component.fetch("http://bücher.farm.test/get", proxy=component.one(Kind.GOOD))
    assert result["status_code"] == 200
    assert component.origin.requests[-1].get("Host") == "xn--bcher-kva.farm.test"


async def test_a_servers_cookie_replaces_the_tasks_of_that_name(component: Component):
    url = set_cookies(component.url, "a=new; Path=/", to="/get")
    result = await component.fetch(url, headers={"Cookie": "a=old; z=9"}, cookies={"c": "d"})
    assert cookies_of(result) == ["a=new", "c=d", "z=9"]
    assert result["cookies"] == {"a": "new", "c": "d", "z": "9"}


@pytest.mark.parametrize("cookie", ['a=b; j={"x":1}; z=9', 'q="quoted"; Path=/x', "a=b=c", "x"])
async def test_a_cookie_header_is_sent_as_it_was_given(component: Component, cookie):
    result = await component.fetch(component.url + "/get", headers={"Cookie": cookie})
    assert headers_of(result)["Cookie"] == cookie


async def test_the_headers_of_a_result_are_those_of_the_answer(component: Component):
    lines = ["a=1; Expires=Wed, 01 Jan 2031 00:00:00 GMT", "b=2"]
    result = await component.fetch(set_cookies(component.url, *lines))
    assert result["headers"]["Set-Cookie"] == "\n".join(lines)
    assert "X-Http-Reason" not in result["headers"]


async def test_without_compression_the_plain_form_is_asked_for(component: Component):
    plain = await component.fetch(component.url + "/get", use_gzip=False)
    usual = await component.fetch(component.url + "/get")
    assert headers_of(plain)["Accept-Encoding"] == "identity"
    assert "gzip" in headers_of(usual)["Accept-Encoding"]


@pytest.mark.parametrize(
    ("given", "arrives"),
    [("post", "POST"), ("Delete", "DELETE"), ("PURGE", "PURGE"), ("PROPFIND", "PROPFIND")],
)
async def test_any_method_in_any_case_may_be_sent(component: Component, given, arrives):
    result = await component.fetch(component.url + "/anything", method=given)
    assert (result["status_code"], page_of(result)["method"]) == (200, arrives)


@pytest.mark.parametrize("method", ["GET", "DELETE", "OPTIONS", "POST", "PATCH"])
async def test_any_method_may_have_a_body(component: Component, method):
    result = await component.fetch(component.url + "/anything", method=method, data="body")
    assert (result["status_code"], page_of(result)["method"]) == (200, method)
    assert component.origin.requests[-1].body == b"body"


async def test_a_post_may_have_no_body(component: Component):
    result = await component.fetch(component.url + "/post", method="POST")
    assert (result["status_code"], headers_of(result)["Content-Length"]) == (200, "0")


def slow_chain(component: Component, last: str, pauses: int) -> str:
    """Redirects that wait 0.3 s each, before a page that waits too."""
    target = last
    for _ in range(pauses):
        target = "/slow-redirect/0.3?to=" + quote(target, safe="")
    return component.url + target


async def test_the_time_of_earlier_hops_is_not_counted_twice(component: Component):
    """pyspider takes 0.3 + 0.6 + 0.9 + 1.2 s off and leaves the last page nothing."""
    result = await component.fetch(slow_chain(component, "/delay/0.3", 4), timeout=3)
    assert result["status_code"] == 200
    assert result["time"] > 1.4


async def test_the_timeout_holds_for_all_hops_together(component: Component):
    result = await component.fetch(slow_chain(component, "/delay/5", 2), timeout=1)
    assert result["status_code"] == 599
    assert "timed out" in result["error"]
    assert 0.9 < result["time"] < 3


@pytest.mark.parametrize(("size", "status"), [(9_999, 200), (10_000, 200), (10_001, 599)])
async def test_a_body_has_a_limit(start: Start, size: int, status: int):
    async with start(fetcher={"max_body": 10_000}) as component:
        url = f"{component.url}/bytes/{size}"
        for options in ({}, {"max_body": 20_000}):
            result = await component.fetch(url, **options)
            assert result["status_code"] == status
            assert result["content"] == body_of(size)[:10_000]
            if status == 599:
                assert "10000" in result["error"].replace(",", "")


async def test_what_did_arrive_of_a_broken_answer_is_kept(component: Component):
    result = await component.fetch(component.url + "/truncated", cookies={"a": "b"}, save=1)
    assert (result["status_code"], result["save"]) == (599, 1)
    assert result["content"] == b"x" * 500
    assert result["headers"] == {"Content-Length": "1000"}
    assert result["cookies"] == {"a": "b"}
    assert "missing" in result["error"]


async def test_every_result_has_headers_and_cookies(component: Component):
    for url in (component.url + "/get", component.url + "/close", "http://127.0.0.1:1/", "data:,"):
        result = await component.fetch(url)
        assert (type(result["headers"]), type(result["cookies"])) == (dict, dict)


async def test_the_url_of_a_failure_is_the_last_that_was_tried(component: Component):
    url = redirect_to(component.url, "http://127.0.0.1:1/gone")
    result = await component.fetch(url)
    assert (result["status_code"], result["orig_url"]) == (599, url)
    assert result["url"] == "http://127.0.0.1:1/gone"


@pytest.mark.parametrize(
    "path", ["/status/200", "/status/204", "/status/304", "/close", "/bytes/0", "/get", None]
)
async def test_content_is_bytes_whether_empty_or_not(component: Component, path):
    url = "data:," if path is None else component.url + path
    for options in ({}, {"method": "HEAD"}, {"fetch_type": "js"}):
        result = await component.fetch(url, **options)
        assert type(result["content"]) is bytes


# -- proxies ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", [Kind.TLS, Kind.SOCKS4, Kind.SOCKS4A, Kind.SOCKS5, Kind.SOCKS5_AUTH]
)
async def test_the_scheme_of_a_proxy_counts(component: Component, farm: Farm, kind: Kind):
    proxy = farm.one(kind)
    for url in (component.url, component.origin.https_url):
        result = await component.fetch(url + "/get", proxy=proxy.url())
        assert result["status_code"] == 200
        assert page_of(result)["origin"] == proxy.exit_host


async def test_the_result_names_the_proxy_without_its_password(component: Component, farm: Farm):
    proxy = farm.one(Kind.AUTH)
    result = await component.fetch(component.url + "/get", proxy=proxy.url())
    assert result["proxy"] == f"http://{proxy.address}"
    direct = await component.fetch(component.url + "/get", proxy=False)
    assert direct["proxy"] is None


async def test_the_next_proxy_of_a_list_is_taken_when_one_fails(component: Component, farm: Farm):
    good = farm.one(Kind.GOOD)
    route = [farm.one(Kind.REFUSING).url(), farm.one(Kind.AUTH).address, good.url()]
    for method in ("GET", "POST"):
        result = await component.fetch(component.url + "/anything", proxy=route, method=method)
        assert (result["status_code"], result["attempts"]) == (200, 3)
        assert page_of(result)["origin"] == good.exit_host


async def test_a_task_takes_its_proxies_from_the_pool_and_another_when_one_fails(start, farm):
    good, dead = farm.one(Kind.GOOD), farm.one(Kind.REFUSING)
    snapshot = Snapshot(Score())
    for proxy in (good, dead):
        snapshot.put(Entry(proxy.address, parse_proxy(proxy.address), 100))
    chooser = PoolChooser(snapshot, random.Random(1).random, allow_private=True)
    async with start(chooser=chooser) as component:
        url = component.url + "/get"
        results = [await component.fetch(url, proxy="pool") for _ in range(20)]
        assert {result["status_code"] for result in results} == {200}
        assert {result["proxy"] for result in results} == {f"http://{good.address}"}
        assert {result["attempts"] for result in results} == {1, 2}
        snapshot.remove(good.address)
        snapshot.remove(dead.address)
        empty = await component.fetch(url, proxy="pool")
    assert empty["status_code"] == 599
    assert "no proxy in the pool" in empty["error"]


async def test_a_proxy_may_have_an_ipv6_address(component: Component, farm: Farm):
    good = farm.one(Kind.GOOD)

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with calling(good.host, good.port) as proxy:
            await wire.relay((reader, writer), proxy)

    if not has_ipv6_loopback():
        pytest.skip("no IPv6 on loopback")
    async with serving(relay, "::1") as port:
        for form in (f"http://[::1]:{port}", f"[::1]:{port}"):
            result = await component.fetch(component.url + "/get", proxy=form)
            assert (result["status_code"], page_of(result)["origin"]) == (200, good.exit_host)
            assert result["proxy"] == f"http://[::1]:{port}"


async def test_direct_means_that_no_variable_of_the_environment_applies(
    start: Start, farm: Farm, monkeypatch: pytest.MonkeyPatch
):
    trap = farm.one(Kind.GOOD)
    variables = {
        "http_proxy": trap.url(), "https_proxy": trap.url(), "all_proxy": trap.url(),
        "no_proxy": "*",
    }  # fmt: skip
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    environment = {name: trap.url() for name in ("http_proxy", "https_proxy")}
    async with start(environment=environment) as component:
        for proxy in (False, None, "", "direct"):
            for url in (component.url, component.origin.https_url):
                result = await component.fetch(url + "/get", proxy=proxy)
                assert (result["status_code"], result["proxy"]) == (200, None)
        assert trap.requests == 0
        result = await component.fetch(component.url + "/get", proxy="env")
        assert (result["status_code"], trap.requests) == (200, 1)
        named = farm.one(Kind.AUTH)  # which no_proxy=* does not take away
        result = await component.fetch(component.url + "/get", proxy=named.url())
        assert page_of(result)["origin"] == named.exit_host


# -- robots.txt ------------------------------------------------------------------------------


def answer_robots(component: Component, status: int) -> None:
    """Let the site's robots.txt have this status, and forbid everything."""

    async def robots(call: Call) -> None:
        await call.send("User-agent: *\nDisallow: /\n", status=status, kind="text/plain")

    pages = component.origin.pages
    [pattern] = [pattern for pattern, _ in pages if pattern.fullmatch("/robots.txt")]
    pages.insert(0, (pattern, robots))


@pytest.mark.parametrize(
    ("robots", "status"),
    [(200, 403), (401, 200), (404, 200), (410, 200), (500, 403), (503, 403)],
)
async def test_a_robots_txt_that_is_not_there_allows_and_one_that_fails_forbids(
    component, robots, status
):
    answer_robots(component, robots)
    result = await component.fetch(component.url + "/get", robots_txt=True)
    assert result["status_code"] == status


async def test_a_robots_txt_is_asked_for_again_when_it_is_old(start: Start):
    async with start(fetcher={"robots_ttl": 0}) as component:
        for _ in range(3):
            result = await component.fetch(component.url + "/get", robots_txt=True)
            assert result["status_code"] == 200
        assert component.origin.hits["/robots.txt"] == 3
        assert component.fetcher.shared.errors == 0
    async with start() as component:
        component.origin.hits.clear()
        for _ in range(3):
            await component.fetch(component.url + "/get", robots_txt=True)
        assert component.origin.hits["/robots.txt"] == 1


async def test_tasks_at_once_share_one_robots_txt(component: Component):
    url = component.url + "/get"
    results = await asyncio.gather(*(component.fetch(url, robots_txt=True) for _ in range(20)))
    assert {result["status_code"] for result in results} == {200}
    assert component.origin.hits["/robots.txt"] == 1
    assert component.origin.hits["/get"] == 20


async def test_a_robots_txt_is_fetched_through_the_tasks_proxy(component: Component, farm: Farm):
    proxy = farm.one(Kind.AUTH)
    result = await component.fetch(component.url + "/get", robots_txt=True, proxy=proxy.url())
    assert result["status_code"] == 200
    seen = [(request.target, request.peer) for request in component.origin.requests]
    assert seen == [("/robots.txt", proxy.exit_host), ("/get", proxy.exit_host)]


# -- the rest --------------------------------------------------------------------------------


def test_a_timeout_from_the_command_line_is_a_number():
    settings = parse_settings({}, env={}, overrides=["fetcher.timeout=30"])
    assert settings.fetcher.timeout == 30.0
    with pytest.raises(SettingsError, match=r"fetcher\.timeout"):
        parse_settings({}, env={}, overrides=["fetcher.timeout=soon"])


async def test_counters_can_be_read_over_xml_rpc_once_something_was_counted(component: Component):
    for path in ("/get", "/get", "/status/404"):
        await component.run({"url": component.url + path, "project": "shop"})
    await component.run({"url": "http://127.0.0.1:1/", "project": "shop"})
    async with RpcServer(component) as rpc:
        for window in ("5m", "1h"):
            counted = (await rpc.call("counter", window, "sum"))["shop"]
            assert (counted["200"], counted["400"], counted["599"]) == (2, 1, 1)
            assert counted["time"] > 0


async def test_the_user_agent_option_works_in_the_fetcher_itself(component: Component):
    result = await component.fetch(component.url + "/get", user_agent="from crawl_config")
    assert headers_of(result)["User-Agent"] == "from crawl_config"
    result = await component.fetch(
        component.url + "/get", user_agent="from crawl_config", headers={"user-agent": "own"}
    )
    assert headers_of(result)["User-Agent"] == "own"


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("data:text/plain,a,b", "a,b"),
        ("data:,a,b", "a,b"),
        ("data:text/plain;charset=gbk,%D6%D0%CE%C4", "中文"),
        ("data:text/plain;charset=gbk;base64,1tDOxA==", "中文"),
        ("DATA:,hello", "hello"),
        ("data:,%E4%B8%AD", "中"),
        ("data:,", ""),
    ],
)
async def test_data_urls_are_read_by_their_standard(component: Component, url, text):
    result = await component.fetch(url)
    assert (result["status_code"], text_of(result)) == (200, text)
    assert result["headers"]["Content-Type"].endswith("charset=utf-8")
    assert failure(result) is None


async def test_a_data_url_without_a_comma_is_a_failure_in_words(component: Component):
    result = await component.fetch("data:hello")
    assert result["status_code"] == 599
    assert "comma" in result["error"]


def test_a_redis_url_is_never_quietly_read_as_another_one():
    assert parse_url("redis://h/3").addresses == (("h", 6379),)
    assert parse_url("rediss://u:p@h:1/2").scheme == "rediss"
    with pytest.raises(RedisURLError):
        parse_url("redis://h:6379/myproject")


async def test_xml_rpc_fetches_at_once_and_within_their_time(component: Component):
    async with RpcServer(component) as rpc:
        started = time.monotonic()
        task = {"url": component.url + "/delay/0.6", "fetch": {"timeout": 10}}
        late = {"url": component.url + "/never", "fetch": {"timeout": 0.5}}
        answers = await asyncio.gather(
            *(rpc.call("fetch", one) for one in (task, task, task, late))
        )
        assert time.monotonic() - started < 1.5
    statuses = [unpack_value(answer.data)["status_code"] for answer in answers]
    assert statuses == [200, 200, 200, 599]


async def test_xml_rpc_reads_base64_markers_too(component: Component):
    body = "[BASE64-DATA]//4A[/BASE64-DATA]"
    async with RpcServer(component) as rpc:
        await rpc.call("fetch", {"url": component.url + "/post",
                                 "fetch": {"method": "POST", "data": body}})  # fmt: skip
    assert component.origin.requests[-1].body == b"\xff\xfe\x00"


async def test_a_url_without_a_scheme_is_taken_as_http(component: Component):
    result = await component.fetch(component.url.removeprefix("http://") + "/get")
    assert result["status_code"] == 200
