import asyncio
import contextlib
import gzip
import logging
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import pairwise
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from msgspec.structs import replace

from fetcher.client.curl import CurlClient
from fetcher.errors import Outcome, TaskError
from fetcher.guard import is_public
from fetcher.model import (
    NO_WISHES,
    Exit,
    Fetch,
    Response,
    Result,
    Target,
    Task,
    Trust,
    Verdict,
    Wishes,
)
from fetcher.politeness.clock import Clock
from fetcher.politeness.slots import Slot
from fetcher.proxy import Proxy, parse_proxy
from fetcher.route.route import DIRECT, ENVIRONMENT, read_environment
from fetcher.run.fetcher import Fetcher
from fetcher.run.path import Ending, Fetching
from fetcher.run.terms import NO_TERMS, Terms
from fetcher.task.request import Defaults
from fetchpool.farm import Call, Farm, FarmProxy, Kind, Origin
from tests.fetcher.fetchers import build_fetcher
from tests.wait import wait_until

pytestmark = pytest.mark.timeout(60)


class FarmPool:
    """Proxies of a farm, given out in their order; it remembers what it is told."""

    def __init__(self, *proxies: FarmProxy, banned: int = 0) -> None:
        self.proxies = [parse_proxy(proxy.url()) for proxy in proxies]
        self.banned = banned  # a status that the site's rules call a ban
        self.reports: list[tuple[str, Outcome, int]] = []
        self.unproven: list[bool] = []
        self.targets: list[Target] = []
        self.in_use: list[Proxy] = []
        self.hold = 0

    def pick(self, target: Target, tried: Sequence[Proxy]) -> Exit | None:
        self.targets.append(target)
        for proxy in self.proxies:
            if proxy not in tried:
                self.in_use.append(proxy)
                return Exit(proxy=proxy, from_pool=True)
        return None

    def release(self, proxy: Proxy) -> None:
        self.in_use.remove(proxy)

    def has_other(self, target: Target, tried: Sequence[Proxy]) -> bool:
        return any(proxy not in tried for proxy in self.proxies)

    def find_hold(self, target: Target) -> int:
        return self.hold

    def report(self, proxy: Proxy, target: Target, response: Response) -> Verdict:
        self.reports.append((proxy.authority, response.outcome, response.status))
        self.unproven.append(response.unproven)
        return Verdict.BANNED if response.status == self.banned else Verdict.GOOD

    def describe(self, target: Target) -> str:
        return f"0 alive of {len(self.proxies)}"


@pytest_asyncio.fixture
async def farm() -> AsyncIterator[Farm]:
    async with Farm(tls=False) as started:
        yield started


@pytest_asyncio.fixture
async def tls_farm() -> AsyncIterator[Farm]:
    async with Farm() as started:
        yield started


DEFAULTS = Defaults(user_agent="fetchpool-test", timeout=20.0)


@contextlib.contextmanager
def fetching(
    *, ca_file: str | None = None, defaults: Defaults = DEFAULTS, **options: Any
) -> Iterator[Fetcher]:
    """A fetcher with a client for each trust; afterwards nothing may be in flight."""
    clients = {
        Trust.OPEN: CurlClient(force_instance=True, ca_file=ca_file),
        Trust.GUARDED: CurlClient(force_instance=True, ca_file=ca_file, guard=is_public),
    }
    options.setdefault("route", DIRECT)
    fetcher = build_fetcher(clients, defaults, **options)
    try:
        yield fetcher
        assert fetcher.in_flight == 0
        assert [client.in_flight for client in clients.values()] == [0, 0]
    finally:
        for client in clients.values():
            client.close()


@pytest.fixture
def fetcher(farm: Farm) -> Iterator[Fetcher]:
    with fetching() as made:
        yield made


def a_task(url: str, **fetch: Any) -> dict[str, Any]:
    return {"taskid": "t", "project": "p", "url": url, "fetch": fetch}


def seen_by(farm: Farm) -> list[str]:
    return [f"{request.method} {request.target}" for request in farm.origin.requests]


# -- the result ------------------------------------------------------------------------------

ALWAYS = {
    "status_code", "orig_url", "url", "headers", "content", "cookies", "time", "save",
    "proxy", "attempts", "timing",
}  # fmt: skip
ERROR, TRACEBACK = {"error"}, {"error", "traceback"}

FORMS: list[tuple[str, dict[str, Any], int, str | None, set[str]]] = [
    ("/html", {}, 200, None, set()),
    ("/status/204", {}, 204, None, set()),
    ("/status/404", {}, 404, "HTTP 404: Not Found", ERROR),
    ("/status/304", {}, 304, "HTTP 304: Not Modified", ERROR),
    ("/redirect/1", {"allow_redirects": False}, 302, "HTTP 302: Found", ERROR),
    ("/redirect/3", {"max_redirects": 2}, 599, "Maximum (2) redirects followed", TRACEBACK),
    ("/close", {}, 599, "Empty reply", TRACEBACK),
    ("/never", {"timeout": 0.2}, 599, "timed out", TRACEBACK),
    ("/bytes/100", {"max_body": 99}, 599, "99 bytes", TRACEBACK),
    ("/html", {"method": "not a token"}, 599, "not an HTTP token", TRACEBACK),
    ("/html", {"proxy": "x://h:1"}, 599, "unknown proxy scheme", TRACEBACK),
    ("/html", {"fetch_type": "js"}, 501, None, set()),
]


@pytest.mark.parametrize(("path", "fetch", "status", "error", "more"), FORMS)
async def test_a_result_has_pysipders_keys_and_no_others(
    farm, fetcher, path, fetch, status, error, more
):
    url = farm.origin.url + path
    result = await fetcher.fetch(a_task(url, save={"n": 1}, **fetch))
    fields = msgspec.to_builtins(result)
    assert set(fields) == ALWAYS | more
    assert (result.status_code, result.orig_url, result.save) == (status, url, {"n": 1})
    assert isinstance(result.content, bytes)
    assert 0 < result.time < 15
    if error is not None:
        assert error in fields["error"]
    if "traceback" in more:
        assert fields["traceback"] is None


async def test_what_arrived_before_a_failure_is_kept(farm, fetcher):
    result = await fetcher.fetch(farm.origin.url + "/truncated")
    assert (result.status_code, result.content) == (599, b"x" * 500)
    assert result.headers["Content-Length"] == "1000"
    result = await fetcher.fetch(a_task(farm.origin.url + "/bytes/100", max_body=99))
    assert len(result.content) == 99


@pytest.mark.parametrize("fetch_type", ["js", "phantomjs", "splash", "puppeteer"])
async def test_a_renderer_that_is_not_there_answers_501_without_an_error(farm, fetcher, fetch_type):
    told, result = await fetcher.fetch_told(a_task(farm.origin.url + "/", fetch_type=fetch_type))
    name = "phantomjs" if fetch_type == "js" else fetch_type
    assert result.status_code == 501
    assert result.content.startswith(f"{name} is not enabled. ".encode())
    assert told.ending is Ending.NOT_ENABLED
    assert seen_by(farm) == []


@pytest.mark.parametrize(
    ("url", "content", "kind"),
    [
        ("data:,a%20b", b"a b", "text/plain"),
        ("data:image/png;base64,/wA=", b"\xff\x00", "image/png"),
        ("DATA:text/html,<p>", b"<p>", "text/html"),
    ],
)
async def test_a_data_url_ends_before_run_returns(fetcher, url, content, kind):
    seen: list[Result] = []
    told = fetcher.run(Task(url=url), lambda _, result: seen.append(result))
    assert seen[0].content == content
    assert (seen[0].status_code, seen[0].url, told.ending) == (200, url, Ending.ANSWERED)
    assert seen[0].headers["Content-Type"].startswith(kind)


async def test_a_dict_that_is_no_task_raises(fetcher):
    with pytest.raises(TaskError, match="url"):
        await fetcher.fetch({"url": 5})


ENDINGS: list[tuple[str, dict[str, Any], Ending]] = [
    ("/status/500", {}, Ending.ANSWERED),
    ("/html", {"method": "A B"}, Ending.BAD_TASK),
    ("/never", {"timeout": 0.1}, Ending.LATE),
    ("/close", {}, Ending.FAILED),
    ("/redirect/9", {}, Ending.FAILED),
    ("/redirect-to?url=file:///etc/hostname", {}, Ending.FAILED),
    ("/html", {"proxy": "pool"}, Ending.NO_PROXY),
]


@pytest.mark.parametrize(("path", "fetch", "ending"), ENDINGS)
async def test_the_ending_says_what_a_task_came_to(farm, fetcher, path, fetch, ending):
    told, _ = await fetcher.fetch_told(a_task(farm.origin.url + path, **fetch))
    assert told.ending is ending


async def test_an_exception_of_ours_is_a_599_with_a_genuine_traceback(farm, caplog):
    class Broken(FarmPool):
        def pick(self, target: Target, tried: Sequence[Proxy]) -> Exit | None:
            raise LookupError("a bug in a chooser")

    with fetching(chooser=Broken()) as fetcher, caplog.at_level(logging.ERROR):
        told, result = await fetcher.fetch_told(a_task(farm.origin.url + "/", proxy="pool"))
        assert fetcher.shared.errors == 1
    assert (result.status_code, result.error) == (599, "LookupError: a bug in a chooser")
    assert told.ending is Ending.BUG
    assert isinstance(result.traceback, str)
    lines = result.traceback.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1] == "LookupError: a bug in a chooser"
    assert caplog.records[0].exc_info


async def test_done_is_called_once_even_if_it_raises(farm, fetcher, caplog):
    seen: list[Result] = []

    def fail(_: Fetching, result: Result) -> None:
        seen.append(result)
        raise LookupError("a caller's bug")

    for url in ("data:,x", farm.origin.url + "/ip", "nonsense"):
        with contextlib.suppress(LookupError):
            fetcher.run(Task(url=url), fail)
    await wait_until(lambda: len(seen) == 3)
    await fetcher.fetch(farm.origin.url + "/ip")
    assert len(seen) == 3


async def test_cancelling_ends_the_transfer_and_gives_no_result(farm, fetcher):
    seen: list[Result] = []
    url = farm.origin.url + "/never"
    told = fetcher.run(Task(url=url), lambda _, result: seen.append(result))
    awaited = asyncio.ensure_future(fetcher.fetch(url))
    await wait_until(lambda: farm.origin.hits["/never"] == 2)
    assert fetcher.in_flight == 2
    told.cancel()
    told.cancel()
    awaited.cancel()
    with pytest.raises(asyncio.CancelledError):
        await awaited
    assert (seen, fetcher.in_flight) == ([], 0)
    await wait_until(lambda: not farm.origin._tasks, what="the origin to see the clients leave")


# -- redirects and cookies -------------------------------------------------------------------

MOVES: list[tuple[int, str, str, bool]] = [
    # status, method, next method, whether the body goes along
    (301, "GET", "GET", False),
    (301, "POST", "GET", False),
    (301, "PUT", "PUT", True),
    (302, "POST", "GET", False),
    (302, "DELETE", "DELETE", False),
    (303, "POST", "GET", False),
    (303, "PUT", "GET", False),
    (303, "HEAD", "HEAD", False),
    (307, "POST", "POST", True),
    (307, "PUT", "PUT", True),
    (308, "POST", "POST", True),
    (308, "GET", "GET", False),
]


@pytest.mark.parametrize(("status", "method", "after", "keeps_body"), MOVES)
async def test_a_redirect_changes_method_and_body_as_the_fetch_standard_says(
    farm, fetcher, status, method, after, keeps_body
):
    body = b"a=1" if method in ("POST", "PUT") else None
    url = f"{farm.origin.url}/redirect-to?status_code={status}&url=/anything/there"
    headers = {"Authorization": "secret", "Content-Language": "de"}
    task = a_task(url, method=method, data=body, headers=headers)
    result = await fetcher.fetch(task)
    assert (result.status_code, result.url) == (200, farm.origin.url + "/anything/there")
    assert result.orig_url == url
    last = farm.origin.requests[-1]
    assert (last.method, last.body) == (after, b"a=1" if keeps_body else b"")
    assert last.get("Authorization") == "secret"
    assert (last.get("Content-Language") == "de") == (keeps_body or after == method)
    assert (last.get("Content-Type") is not None) == (keeps_body and after == "POST")


@pytest.mark.parametrize(("limit", "status"), [(2, 599), (3, 200), (4, 200)])
async def test_so_many_redirects_are_followed(farm, fetcher, limit, status):
    result = await fetcher.fetch(a_task(farm.origin.url + "/redirect/3", max_redirects=limit))
    assert result.status_code == status
    assert len(farm.origin.requests) == min(limit, 3) + 1
    if status == 599:
        assert result.error == f"HTTP 599: Maximum ({limit}) redirects followed"
        assert result.url == farm.origin.url + "/redirect/1"


@pytest.mark.parametrize("status", [300, 304, 305])
async def test_other_statuses_with_a_location_are_results(farm, fetcher, status):
    url = f"{farm.origin.url}/redirect-to?status_code={status}&url=/get"
    result = await fetcher.fetch(url)
    assert (result.status_code, result.url) == (status, url)


async def test_secrets_of_one_origin_do_not_reach_another(farm, fetcher):
    async with Farm(tls=False) as other:
        url = f"{farm.origin.url}/redirect-to?url={other.origin.url}/get"
        headers = {"Authorization": "secret", "Cookie": "c=1", "X-Own": "kept"}
        assert (await fetcher.fetch(a_task(url, headers=headers))).status_code == 200
        [seen] = other.origin.requests
    assert farm.origin.requests[-1].get("Authorization") == "secret"
    assert seen.get("Authorization") is None
    assert seen.get("X-Own") == "kept"
    assert seen.get("Cookie") == "c=1"  # the same address is the same site


async def test_cookies_learned_on_the_way_are_sent_and_shown(farm, fetcher):
    url = farm.origin.url + "/cookies/set?a=new&b=2"
    result = await fetcher.fetch(a_task(url, cookies={"a": "old", "own": "1"}))
    assert msgspec.json.decode(result.content) == {"cookies": {"a": "new", "b": "2", "own": "1"}}
    assert result.cookies == {"a": "new", "b": "2", "own": "1"}
    assert farm.origin.requests[0].get("Cookie") == "a=old; own=1"
    result = await fetcher.fetch(farm.origin.url + "/cookies")
    assert result.cookies == {}  # nothing is shared between tasks


# -- time ------------------------------------------------------------------------------------


async def test_one_deadline_holds_over_all_hops(farm, fetcher):
    inner = f"{farm.origin.url}/delay/0.3"
    url = f"{farm.origin.url}/redirect-to?url={inner}"
    result = await fetcher.fetch(a_task(url, timeout=0.2))
    assert result.status_code == 599 and "timed out" in result.error
    assert result.url == inner
    assert 0.15 < result.time < 5


async def test_one_deadline_holds_over_all_attempts(farm):
    hanging = [farm.add(Kind.HANGING) for _ in range(4)]
    with fetching(chooser=FarmPool(*hanging), attempt_timeout=0.2) as fetcher:
        task = a_task(farm.origin.url + "/ip", proxy="pool", timeout=0.5)
        told, result = await fetcher.fetch_told(task)
    assert result.status_code == 599
    assert told.ending is Ending.LATE
    assert 0.4 < result.time < 5
    assert 2 <= sum(proxy.connections > 0 for proxy in hanging) <= 3


# -- proxies ---------------------------------------------------------------------------------


async def test_dead_proxies_are_passed_by_on_the_way(farm):
    kinds = (Kind.REFUSING, Kind.GARBAGE, Kind.HANGING, Kind.GOOD)
    proxies = [farm.add(kind) for kind in kinds]
    pool = FarmPool(*proxies)
    with fetching(chooser=pool, attempt_timeout=0.2) as fetcher:
        told, result = await fetcher.fetch_told(a_task(farm.origin.url + "/ip", proxy="pool"))
    assert (result.status_code, result.attempts) == (200, 4)
    assert result.proxy == f"http://{proxies[-1].address}"
    assert [attempt.proxy for attempt in told.attempts] == [p.url() for p in proxies[:3]]
    assert all(attempt.error and attempt.seconds >= 0 for attempt in told.attempts)
    assert [report[0] for report in pool.reports] == [proxy.address for proxy in proxies]
    assert [request.peer for request in farm.origin.requests] == [proxies[-1].host]


async def test_the_pool_hears_what_is_wished_of_its_proxies(farm, fetcher):
    dead, good = farm.add(Kind.REFUSING), farm.add(Kind.GOOD)
    pool, wishes = FarmPool(dead, good), Wishes(country="DE", unchecked=True)
    task = Task(url=farm.origin.url + "/ip", fetch=Fetch(proxy="pool"))
    with fetching(chooser=pool) as fetcher:
        for terms in (Terms(wishes=wishes), NO_TERMS):
            ended: asyncio.Future[Result] = asyncio.get_running_loop().create_future()

            def done(_: Fetching, result: Result, ended: Any = ended) -> None:
                ended.set_result(result)

            fetcher.run(task, done, terms=terms)
            assert (await ended).status_code == 200
    told = [target.wishes for target in pool.targets]
    half = len(told) // 2
    assert told == [wishes] * half + [NO_WISHES] * half
    assert half == 2


@pytest.mark.parametrize(("hold", "takes", "is_left"), [
    (0, "gzip", True), (0, "br", False), (0, "", False), (9, "gzip", False),
])  # fmt: skip
async def test_a_reader_gets_the_coding_he_takes_unless_a_sites_rules_are_to_read_the_body(
    farm, hold, takes, is_left
):
    pool = FarmPool(farm.add(Kind.GOOD))
    pool.hold = hold
    task = Task(url=farm.origin.url + "/gzip", fetch=Fetch(proxy="pool"))
    with fetching(chooser=pool) as fetcher:
        reading = fetcher.read(task, takes=takes)
        await reading.head()
        body = b"".join([chunk async for chunk in reading])
    assert b'"gzipped": true' in (gzip.decompress(body) if is_left else body)
    assert reading.fetching is not None and reading.fetching.response is not None
    assert reading.fetching.response.undone is not is_left


@pytest.mark.parametrize(("retries", "status"), [(0, 599), (1, 599), (2, 200), (3, 200)])
async def test_retries_says_how_many_others_are_tried(farm, retries, status):
    proxies = [farm.add(kind) for kind in (Kind.REFUSING, Kind.REFUSING, Kind.GOOD)]
    with fetching(chooser=FarmPool(*proxies)) as fetcher:
        task = a_task(farm.origin.url + "/ip", proxy="pool", retries=retries)
        result = await fetcher.fetch(task)
    assert (result.status_code, result.attempts) == (status, min(retries, 2) + 1)


async def test_a_list_is_tried_in_order_and_a_single_proxy_once(farm, fetcher):
    dead, good = farm.add(Kind.REFUSING), farm.add(Kind.GOOD)
    url = farm.origin.url + "/ip"
    result = await fetcher.fetch(a_task(url, proxy=[dead.url(), good.url()]))
    assert (result.status_code, result.proxy, result.attempts) == (200, good.url(), 2)
    result = await fetcher.fetch(a_task(url, proxy=dead.url()))
    assert (result.status_code, result.proxy, result.attempts) == (599, dead.url(), 1)


async def test_a_407_moves_on_and_the_last_one_is_no_page_for_anybody(farm):
    asking, good = farm.add(Kind.AUTH), farm.add(Kind.GOOD)
    asking_too = farm.add(Kind.AUTH)
    bare = [proxy.url(credentials=False) for proxy in (asking, asking_too)]
    url = farm.origin.url + "/ip"
    with fetching() as fetcher:
        result = await fetcher.fetch(a_task(url, proxy=[bare[0], good.url()]))
        assert (result.status_code, result.attempts) == (200, 2)
        result = await fetcher.fetch(a_task(url, proxy=bare))
        assert (result.status_code, result.attempts) == (599, 2)
        assert result.error == "HTTP 599: HTTP 407 from the last proxy tried"
        # Who names one proxy hears what that one says, as from pyspider.
        assert (await fetcher.fetch(a_task(url, proxy=bare[0]))).status_code == 407


@pytest.mark.parametrize("kind", [Kind.GOOD, Kind.SOCKS5])
async def test_a_407_that_comes_through_a_tunnel_is_the_targets(tls_farm, kind):
    pool = FarmPool(*(tls_farm.add(kind) for _ in range(3)))
    with fetching(ca_file=tls_farm.ca_file, chooser=pool) as fetcher:
        url = f"{tls_farm.origin.https_url}/status/407"
        for _ in range(2):  # also on a kept connection
            result = await fetcher.fetch(a_task(url, method="POST", data=b"x", proxy="pool"))
            assert (result.status_code, result.attempts) == (407, 1)
    assert seen_by(tls_farm) == ["POST /status/407"] * 2
    assert [outcome for _, outcome, _ in pool.reports] == [Outcome.ANSWERED] * 2


@pytest.mark.parametrize(("patience", "unproven"), [(5.0, True), (0.1, False)])
async def test_who_had_less_time_than_it_takes_has_not_failed(farm, patience, unproven):
    pool = FarmPool(farm.add(Kind.HANGING))
    with fetching(chooser=pool, attempt_connect=patience) as fetcher:
        result = await fetcher.fetch(a_task(farm.origin.url, proxy="pool", timeout=0.3))
    assert result.status_code == 599
    assert pool.unproven == [unproven]


async def test_a_ban_by_the_sites_rules_moves_on(farm):
    first, second = farm.add(Kind.BAD_GATEWAY), farm.add(Kind.GOOD)
    with fetching(chooser=FarmPool(first, second, banned=502)) as fetcher:
        result = await fetcher.fetch(a_task(farm.origin.url + "/ip", proxy="pool"))
        assert (result.status_code, result.attempts) == (200, 2)
    with fetching(chooser=FarmPool(first, second)) as fetcher:
        result = await fetcher.fetch(a_task(farm.origin.url + "/ip", proxy="pool"))
        assert (result.status_code, result.attempts) == (502, 1)


@pytest.mark.parametrize(
    ("method", "retry_unsafe", "arrivals"),
    [
        ("GET", False, 3),
        ("PUT", False, 3),
        ("DELETE", False, 3),
        ("POST", False, 1),
        ("PATCH", False, 1),
        ("POST", True, 3),
    ],
)
async def test_what_may_have_arrived_is_repeated_only_if_that_is_harmless(
    farm, method, retry_unsafe, arrivals
):
    # They pass it on and the origin hangs up: 502 is their answer, and a ban the reason to go on.
    proxies = [farm.add(Kind.GOOD) for _ in range(3)]
    with fetching(chooser=FarmPool(*proxies, banned=502)) as fetcher:
        task = a_task(
            farm.origin.url + "/close", method=method, proxy="pool", retry_unsafe=retry_unsafe
        )
        result = await fetcher.fetch(task)
    assert result.status_code == 502
    assert seen_by(farm) == [f"{method} /close"] * arrivals


async def test_a_post_that_has_not_left_is_repeated_through_any_failing_proxy(tls_farm):
    kinds = (Kind.REFUSING, Kind.SILENT, Kind.RESETTING, Kind.NO_CONNECT, Kind.PORTAL, Kind.GOOD)
    proxies = [tls_farm.add(kind) for kind in kinds]
    with fetching(
        chooser=FarmPool(*proxies), ca_file=tls_farm.ca_file, attempt_timeout=0.3
    ) as fetcher:
        url = tls_farm.origin.https_url + "/post"
        result = await fetcher.fetch(
            a_task(url, method="POST", data="a=1", proxy="pool", retries=9)
        )
    assert (result.status_code, result.attempts) == (200, 6)
    assert seen_by(tls_farm) == ["POST /post"]


async def test_a_post_goes_on_a_fresh_connection(farm, fetcher):
    proxy = farm.add(Kind.GOOD)
    for _ in range(3):
        task = a_task(farm.origin.url + "/post", method="POST", data="x", proxy=proxy.url())
        assert (await fetcher.fetch(task)).status_code == 200
    assert proxy.connections == 3


async def test_only_the_last_attempt_may_take_all_the_time(farm):
    slow = [farm.add(Kind.SLOW) for _ in range(3)]
    for proxy in slow:
        proxy.delay = 0.6
    with fetching(chooser=FarmPool(*slow), attempt_timeout=0.15) as fetcher:
        url = farm.origin.url + "/ip"
        result = await fetcher.fetch(a_task(url, proxy="pool", retries=1))
        assert (result.status_code, result.attempts) == (200, 2)
        result = await fetcher.fetch(a_task(url, proxy="pool"))  # three proxies, four attempts
        assert (result.status_code, result.attempts) == (200, 3)
        result = await fetcher.fetch(a_task(url, proxy=[slow[0].url(), slow[1].url()]))
        assert (result.status_code, result.attempts) == (200, 2)
        url = farm.origin.url + "/delay/0.6"
        result = await fetcher.fetch(a_task(url, proxy=[slow[0].url(), "direct"]))
        assert (result.status_code, result.proxy) == (200, None)


async def test_a_body_that_moves_is_no_reason_for_another_attempt(farm):
    good, other = farm.add(Kind.GOOD), farm.add(Kind.GOOD)
    with fetching(chooser=FarmPool(good, other), attempt_timeout=0.2) as fetcher:
        url = farm.origin.url + "/drip?numbytes=6&duration=0.6"
        result = await fetcher.fetch(a_task(url, proxy="pool"))
    assert (result.status_code, result.content, result.attempts) == (200, b"******", 1)


async def test_the_same_certificate_failure_through_two_proxies_is_returned(tls_farm):
    proxies = [tls_farm.add(Kind.GOOD) for _ in range(4)]
    with fetching(chooser=FarmPool(*proxies)) as fetcher:  # trusts no certificate of the farm
        url = tls_farm.origin.https_url + "/ip"
        result = await fetcher.fetch(a_task(url, proxy="pool"))
        assert (result.status_code, result.attempts) == (599, 2)
        assert "certificate" in str(result.error)
        assert [proxy.connects for proxy in proxies] == [1, 1, 0, 0]
        result = await fetcher.fetch(a_task(url, proxy="pool", validate_cert=False))
        assert result.status_code == 200


async def test_a_https_hop_asks_the_pool_again_for_a_proxy_that_tunnels(tls_farm):
    proxy = tls_farm.add(Kind.GOOD)
    pool = FarmPool(proxy)
    with fetching(chooser=pool, ca_file=tls_farm.ca_file) as fetcher:
        origin = tls_farm.origin
        url = f"{origin.url}/redirect-to?url={origin.https_url}/ip"
        result = await fetcher.fetch(a_task(url, proxy="pool"))
    assert result.status_code == 200
    assert [target.tunnelled for target in pool.targets][-1]
    assert (pool.targets[0].tunnelled, proxy.connects) == (False, 1)


EMPTY: list[tuple[Any, int, str | None]] = [
    ("pool", 599, "HTTP 599: no proxy in the pool (0 alive of 0)"),
    ("pool:shop", 599, "HTTP 599: no proxy in the pool (0 alive of 0)"),
    (["pool", "pool:shop"], 599, "HTTP 599: no proxy in the pool (0 alive of 0)"),
    (["pool", "direct"], 200, None),
]


@pytest.mark.parametrize(("proxy", "status", "error"), EMPTY)
async def test_nothing_goes_direct_because_the_pool_is_empty(farm, proxy, status, error):
    with fetching(chooser=FarmPool()) as fetcher:
        result = await fetcher.fetch(a_task(farm.origin.url + "/ip", proxy=proxy))
    assert result.status_code == status
    assert msgspec.to_builtins(result).get("error") == error
    assert len(farm.origin.requests) == (1 if status == 200 else 0)


async def test_a_pool_whose_proxies_all_fail_does_not_go_direct_either(farm):
    dead = [farm.add(Kind.REFUSING) for _ in range(2)]
    with fetching(chooser=FarmPool(*dead)) as fetcher:
        url = farm.origin.url + "/ip"
        result = await fetcher.fetch(a_task(url, proxy="pool"))
        assert (result.status_code, result.attempts) == (599, 2)
        assert seen_by(farm) == []
        result = await fetcher.fetch(a_task(url, proxy=["pool", "direct"]))
        assert (result.status_code, result.proxy, result.attempts) == (200, None, 3)
    with fetching() as alone:
        result = await alone.fetch(a_task(url, proxy="pool"))
        assert str(result.error).startswith("HTTP 599: this fetcher knows no pool: ")


async def test_the_environment_applies_where_the_route_says_env_and_nowhere_else(farm):
    trap, good = farm.add(Kind.GOOD), farm.add(Kind.GOOD)
    environment = read_environment({"http_proxy": trap.url()})
    with fetching(route=ENVIRONMENT, environment=environment) as fetcher:
        url = farm.origin.url + "/ip"
        for proxy in ("direct", False, None, "", good.url()):
            assert (await fetcher.fetch(a_task(url, proxy=proxy))).status_code == 200
        assert trap.connections == 0
        for fetch in ({}, {"proxy": True}, {"proxy": "env"}):
            result = await fetcher.fetch(a_task(url, **fetch))
            assert (result.status_code, result.proxy) == (200, trap.url())
        trap.kind = Kind.REFUSING
        result = await fetcher.fetch(a_task(url, proxy=["env", "direct"]))
        assert (result.status_code, result.proxy, result.attempts) == (200, None, 2)


# -- guarded tasks ---------------------------------------------------------------------------

PRIVATE = ["127.0.0.1", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "localhost"]


@pytest.mark.parametrize("host", PRIVATE)
@pytest.mark.parametrize("proxied", [False, True])
async def test_a_guarded_task_reaches_no_private_target_however_it_is_spelled(farm, host, proxied):
    proxy = farm.add(Kind.GOOD)
    with fetching(chooser=FarmPool(proxy)) as fetcher:
        task = a_task(f"http://{host}:{farm.origin.port}/ip", proxy="pool" if proxied else "direct")
        told, result = await fetcher.fetch_told(task, trust=Trust.GUARDED)
        assert (result.status_code, told.ending) == (599, Ending.REFUSED)
        assert "refused" in str(result.error)
        assert (seen_by(farm), proxy.connections) == ([], 0)
        assert (await fetcher.fetch(task)).status_code == 200


async def test_a_guarded_task_may_use_a_private_proxy_of_ours_but_not_of_its_own(farm):
    proxy = farm.add(Kind.GOOD)
    with fetching(chooser=FarmPool(proxy)) as fetcher:
        url = "http://www.farm.test/ip"
        result = await fetcher.fetch(a_task(url, proxy="pool"), trust=Trust.GUARDED)
        assert result.status_code == 200
        told, result = await fetcher.fetch_told(a_task(url, proxy=proxy.url()), trust=Trust.GUARDED)
        assert (result.status_code, told.ending) == (599, Ending.REFUSED)
        assert proxy.requests == 1


async def test_a_guarded_task_is_not_redirected_to_a_private_address(farm):
    proxy = farm.add(Kind.GOOD)
    with fetching(chooser=FarmPool(proxy)) as fetcher:
        url = f"http://www.farm.test/redirect-to?url={farm.origin.url}/ip"
        told, result = await fetcher.fetch_told(a_task(url, proxy="pool"), trust=Trust.GUARDED)
        assert (result.status_code, told.ending) == (599, Ending.REFUSED)
        assert result.url == farm.origin.url + "/ip"
        assert farm.origin.hits["/ip"] == 0


@pytest.mark.parametrize(("allow_private", "status"), [(True, 599), ("all", 200)])
async def test_an_open_task_is_not_led_from_a_public_name_to_a_private_address(
    farm, allow_private, status
):
    proxy = farm.add(Kind.GOOD)
    with fetching(chooser=FarmPool(proxy), allow_private=allow_private) as fetcher:
        url = f"http://www.farm.test/redirect-to?url={farm.origin.url}/ip"
        result = await fetcher.fetch(a_task(url, proxy="pool"))
        assert result.status_code == status
        assert farm.origin.hits["/ip"] == (1 if status == 200 else 0)
        url = f"{farm.origin.url}/redirect-to?url=/get"
        assert (await fetcher.fetch(a_task(url, proxy="pool"))).status_code == 200


async def test_a_certificate_that_is_the_proxys_names_the_proxy(tls_farm):
    proxy = tls_farm.add(Kind.TLS)
    with fetching() as fetcher:  # trusts no certificate of the farm
        for url in (tls_farm.origin.url + "/html", tls_farm.origin.https_url + "/html"):
            result = await fetcher.fetch(a_task(url, proxy=proxy.url("https")))
            assert f"the proxy {proxy.address}: " in str(result.error)
        direct = await fetcher.fetch(a_task(tls_farm.origin.https_url + "/html", proxy=False))
    assert "the proxy" not in str(direct.error)


# -- the politeness clock --------------------------------------------------------------------------


class Log:
    """When which path of an origin was asked for, in seconds of the loop."""

    def __init__(self, origin: Origin) -> None:
        self.seen: list[tuple[float, str]] = []
        self.status, self.fields = 200, [("X", "x")]
        self.robots = "User-agent: *\nDisallow: /deny\n"
        origin.pages.insert(0, (re.compile(r"/robots\.txt|/log/.*"), self.answer))

    async def answer(self, call: Call) -> None:
        path = call.seen.target
        self.seen.append((asyncio.get_running_loop().time(), path))
        if path == "/robots.txt":
            await call.send(self.robots, kind="text/plain")
        else:
            await call.send("ok", self.status, fields=self.fields)

    @property
    def paths(self) -> list[str]:
        return [path for _, path in self.seen]

    @property
    def gaps(self) -> list[float]:
        return [later - earlier for (earlier, _), (later, _) in pairwise(self.seen)]


SLACK = 0.1  # seconds by which requests may come closer than they started: what the way took


@pytest.fixture
def polite(clock: Clock) -> Iterator[Fetcher]:
    with fetching(clock=clock) as made:
        yield made


async def test_tasks_that_keep_a_delay_start_one_after_the_other(farm, polite):
    log = Log(farm.origin)
    tasks = [a_task(f"{farm.origin.url}/log/{n}", delay=0.2) for n in range(4)]
    results = await asyncio.gather(*map(polite.fetch, tasks))
    assert [result.status_code for result in results] == [200] * 4
    assert min(log.gaps) > 0.2 - SLACK


@pytest.mark.parametrize(("own", "default", "is_kept"), [(None, 0.2, True), (0, 0.2, False)])
async def test_the_callers_delay_is_for_tasks_that_name_none(farm, polite, own, default, is_kept):
    log = Log(farm.origin)
    ended: list[Result] = []
    for n in range(3):
        task = Task(url=f"{farm.origin.url}/log/{n}", fetch=Fetch(delay=own))
        polite.run(task, lambda _, result: ended.append(result), terms=Terms(delay=default))
    await wait_until(lambda: len(ended) == 3)
    assert (min(log.gaps) > 0.2 - SLACK) is is_kept


async def test_each_hop_waits_and_time_waited_does_not_count(farm, polite):
    task = a_task(farm.origin.url + "/redirect/3", delay=0.4, timeout=1.0)
    began = asyncio.get_running_loop().time()
    result = await polite.fetch(task)
    assert (result.status_code, result.url) == (200, farm.origin.url + "/get")
    assert asyncio.get_running_loop().time() - began > 1.2 - SLACK
    assert result.time < 1.0


async def test_without_redis_a_task_that_asks_for_a_delay_is_refused(farm, fetcher):
    told, result = await fetcher.fetch_told(a_task(farm.origin.url + "/html", delay=1))
    assert (result.status_code, told.ending) == (599, Ending.BAD_TASK)
    assert str(result.error).startswith("fetch.delay: delays are kept in Redis")
    assert (await fetcher.fetch(a_task(farm.origin.url + "/html", delay=0))).status_code == 200
    assert (await fetcher.fetch(a_task("data:,x", delay=1))).status_code == 200


async def test_who_cannot_start_in_time_hears_when_he_might(farm, clock):
    with fetching(clock=clock, defaults=replace(DEFAULTS, max_timeout=50.0)) as fetcher:
        url = farm.origin.url + "/html"
        assert (await fetcher.fetch(a_task(url, delay=60))).status_code == 200
        told, result = await fetcher.fetch_told(a_task(url, delay=60))
        assert (result.status_code, told.ending) == (599, Ending.LATE)
        assert "127.0.0.1 is asked every 60 s and has no turn before 2" in str(result.error)
        assert farm.origin.hits["/html"] == 1


@pytest.mark.parametrize("status", [429, 503])
async def test_a_429_or_503_keeps_all_others_from_the_host(farm, polite, clock, status):
    log = Log(farm.origin)
    log.status, log.fields = status, [("Retry-After", "4000")]
    result = await polite.fetch(a_task(farm.origin.url + "/log/a", delay=0.01))
    assert result.status_code == status
    await wait_until(clock.blocked)
    result = await polite.fetch(a_task(farm.origin.url + "/log/b", delay=0.01))
    assert "127.0.0.1 answered 429 or 503 and is left alone until 2" in str(result.error)
    assert log.paths == ["/log/a"]
    assert (await polite.fetch(a_task(farm.origin.url + "/log/c"))).status_code == status


async def test_robots_txt_takes_a_start_of_its_own_and_its_delay_counts(farm, polite):
    log = Log(farm.origin)
    log.robots = "User-agent: *\nDisallow: /log/deny\nCrawl-delay: 0.6\n"
    paths = ["/log/a", "/log/deny", "/log/b"]
    tasks = [a_task(farm.origin.url + path, delay=0.3, robots_txt=True) for path in paths]
    results = await asyncio.gather(*map(polite.fetch, tasks))
    assert [result.status_code for result in results] == [200, 403, 200]
    assert log.paths[0] == "/robots.txt"
    assert sorted(log.paths[1:]) == ["/log/a", "/log/b"]
    assert [gap > 0.6 - SLACK for gap in log.gaps] == [True, True]


async def test_a_wait_for_robots_txt_that_waits_does_not_count(farm, polite, clock):
    Log(farm.origin)
    await clock.reserve([Slot("127.0.0.1", 0.5)], 0)
    task = a_task(farm.origin.url + "/log/a", delay=0.1, robots_txt=True, timeout=0.4)
    assert (await polite.fetch(task)).status_code == 200


async def test_another_proxy_waits_for_its_own_start(farm, clock):
    log = Log(farm.origin)
    pool = FarmPool(farm.add(Kind.REFUSING), farm.add(Kind.GOOD))
    with fetching(chooser=pool, clock=clock) as fetcher:
        began = asyncio.get_running_loop().time()
        task = a_task(farm.origin.url + "/log/a", proxy="pool", delay=0.4)
        result = await fetcher.fetch(task)
    assert (result.status_code, result.attempts) == (200, 2)
    assert log.seen[0][0] - began > 0.4 - SLACK
    assert pool.in_use == []


async def test_one_that_is_cancelled_while_it_waits_never_starts(farm, polite, clock):
    await clock.reserve([Slot("127.0.0.1", 0.2)], 0)
    told: list[Result] = []
    for robots in (False, True):
        task = Task(url=farm.origin.url + "/html", fetch=Fetch(delay=0.1, robots_txt=robots))
        gone = polite.run(task, lambda _, result: told.append(result))
        gone.cancel()
        gone.cancel()
    assert (await polite.fetch(a_task(farm.origin.url + "/get", delay=0.5))).status_code == 200
    assert (told, farm.origin.hits["/html"]) == ([], 0)


async def test_an_answer_that_is_read_as_it_comes_may_need_another_start(farm, clock):
    log = Log(farm.origin)
    log.status = 403
    pool = FarmPool(farm.add(Kind.GOOD), farm.add(Kind.GOOD), banned=403)
    with fetching(chooser=pool, clock=clock) as fetcher:
        url = farm.origin.url + "/log/a"
        async with fetcher.stream(url, proxy="pool", retries=1, delay=0.3) as reading:
            assert await reading.read() == b"ok"
    assert len(log.seen) == 2
    assert log.gaps[0] > 0.3 - SLACK
    assert pool.in_use == []


# -- what is counted -------------------------------------------------------------------------------


async def test_each_fetch_is_counted_by_its_end_and_by_who_carried_it_out(
    farm: Farm, fetcher: Fetcher
) -> None:
    for path in ("/html", "/status/404", "/close"):
        await fetcher.fetch(a_task(f"{farm.origin.url}{path}"))
    for url in ("data:,x", "gopher://127.0.0.1/"):
        await fetcher.fetch(a_task(url))
    await fetcher.fetch(a_task(f"{farm.origin.url}/html", fetch_type="js"))
    totals = fetcher.meters.read({})
    fetches = {name: n for name, n in totals.counts.items() if name.startswith("fetches")}
    assert fetches == {
        "fetches\nanswered\nhttp": 2,
        "fetches\nanswered\ndata": 1,
        "fetches\nbad task\nhttp": 1,
        "fetches\nfailed\nhttp": 1,
        "fetches\nnot enabled\nhttp": 1,
    }
    assert totals.counts["bytes"] > 100
    assert sum(totals.histograms["fetch\nfirst_byte"].counts) == 2


async def test_only_a_fetch_of_one_transfer_tells_how_long_it_waited_beside_it(
    farm: Farm, fetcher: Fetcher
) -> None:
    await fetcher.fetch(a_task(f"{farm.origin.url}/redirect/2"))
    assert "fetch\nqueue" not in fetcher.meters.read({}).histograms
    await fetcher.fetch(a_task(f"{farm.origin.url}/html"))
    queue = fetcher.meters.read({}).histograms["fetch\nqueue"]
    assert sum(queue.counts) == 1
    assert 0 < queue.seconds < 1
