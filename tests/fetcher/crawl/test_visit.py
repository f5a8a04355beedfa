"""Visits: what becomes of a URL, whatever the site, robots.txt and the clock say to it."""

import asyncio
import gzip
import itertools
import zlib
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from fetcher.crawl.decide import MOST_BLOCKS, MOST_HOPS, ROBOTS_AFTER, ROBOTS_TIMES
from fetcher.crawl.model import Flag, Page, Try
from fetcher.crawl.visit import DEADLY, Ended
from fetcher.politeness.backoff import MOST_CRAWL_DELAY
from fetcher.politeness.clock import Clock
from fetcher.politeness.slots import Slot
from fetchpool.farm import Call
from tests.fetcher.crawl.rig import Rig, life_of, rigged
from tests.raw_origin import HANG, RESET, RawOrigin
from tests.wait import wait_until

pytestmark = pytest.mark.usefixtures("nothing_breaks_on_the_loop")

Make = Callable[..., AbstractAsyncContextManager[Rig]]


@pytest.fixture
def make(redis: Redis) -> Make:
    return lambda **options: rigged(redis, **options)


def page_of(ended: Ended) -> Page:
    assert ended.page is not None
    return ended.page


def outcomes(ended: Ended) -> list[str]:
    """Of the attempts at a URL that is to be tried again."""
    assert ended.outcome.item is not None
    return [one.outcome for one in ended.outcome.item.tries]


# -- pages ----------------------------------------------------------------------------------------


async def test_an_answer_becomes_a_page_with_its_links_and_its_life(make: Make) -> None:
    async with make() as rig:
        rig.answer("/a", "<title>A</title><a href=/b>b</a><a href=http://elsewhere.test/>c</a>")
        ended = await rig.visit(rig.url("/a"), depth=2, parent="/p", tries=[Try(1.0, "500")])
    page = page_of(ended)
    assert (page.status_code, page.title, page.links, page.address) == (200, "A", 2, "127.0.0.1")
    assert (page.visited.parent, page.visited.depth) == (rig.url("/p"), 2)
    assert page.visited.polite == "127.0.0.1" and page.visited.started > 1.7e9
    assert (ended.outcome.what, ended.outcome.reached) == ("d", True)
    [link] = ended.arrivals
    assert (link.item.url, link.depth, link.item.parent) == (rig.url("/b"), 3, "/a")
    assert ended.counts == {"bytes": len(page.body), "skipped": 1}
    assert ended.tally == {"skip:scope": 1}
    life = life_of(ended)
    assert (life.fate, life.depth) == ("d", 2)
    assert [one.outcome for one in life.tries] == ["500", "200"]
    assert life_of(ended, "skips").reason == "scope"


@pytest.mark.parametrize("status", [404, 403, 410, 451, 501, 204, 304, 300])
async def test_what_is_an_answer_is_a_page_though_no_link_of_an_error_is_followed(
    make: Make, status: int
) -> None:
    async with make() as rig:
        rig.answer("/a", "" if status in (204, 304) else "<a href=/b>", status)
        ended = await rig.visit(rig.url("/a"))
    assert (ended.outcome.what, page_of(ended).status_code, ended.arrivals) == ("d", status, [])


async def test_a_leaf_has_links_that_nobody_follows(make: Make) -> None:
    async with make() as rig:
        rig.answer("/a", "<a href=/b>")
        ended = await rig.visit(rig.url("/a"), flags=Flag.LEAF)
    assert (page_of(ended).links, ended.arrivals) == (1, [])


async def test_what_the_options_say_of_a_request_goes_out(make: Make) -> None:
    async with make(user_agent="bot/1") as rig:
        rig.answer("/a")
        await rig.visit(rig.url("/a"), cookies={"k": "v"})
        await rig.visit(rig.url("/a"))
    first, second = rig.site.requests
    assert (first.get("User-Agent"), first.get("Cookie")) == ("bot/1", "k=v")
    assert second.get("Cookie") is None


@pytest.mark.parametrize("flags", [Flag.SEED, 0])
async def test_what_is_excluded_by_now_is_not_asked_for(make: Make, flags: int) -> None:
    async with make(exclude=("/a",)) as rig:
        ended = await rig.visit(rig.url("/a"), flags=flags)
        assert (ended.outcome.what, life_of(ended).reason) == ("s", "exclude")
        assert ended.tally == {"skip:exclude": 1}
        assert rig.asked() == []


# -- the cache ------------------------------------------------------------------------------------


async def test_a_young_page_comes_from_the_cache_without_a_request(
    make: Make, tmp_path: Path
) -> None:
    async with make(cache=tmp_path / "c", robots=True) as rig:
        rig.means.change(_with(rig, cache=100.0))
        rig.answer("/a", "<title>A</title><a href=/b>")
        await rig.visit(rig.url("/a"))
        rig.site.requests.clear()
        ended = await rig.visit(rig.url("/a"))
        assert rig.asked() == []
    page = page_of(ended)
    assert (page.title, page.is_new, page.content[:7]) == ("A", False, b"<title>")
    assert ended.counts == {"revisits": 1, "bytes": 0}
    assert life_of(ended).tries == []
    # The first page was asked for at a private address: so may those that it names.
    assert [one.item.flags for one in ended.arrivals] == [0]


async def test_an_old_page_is_asked_for_conditionally(make: Make, tmp_path: Path) -> None:
    async with make(cache=tmp_path / "c") as rig:
        rig.means.change(_with(rig, cache=0.0))
        await rig.visit(rig.url("/etag/one"))
        rig.site.requests.clear()
        ended = await rig.visit(rig.url("/etag/one"))
        [seen] = rig.site.requests
        assert seen.get("If-None-Match") == '"one"'
        page = page_of(ended)
        assert (page.status_code, page.is_new) == (200, False)
        assert page.visited.started > 0 and page.content
        assert ended.counts["revisits"] == 1
        rig.means.change(_with(rig, cache=100.0))
        again = await rig.visit(rig.url("/etag/one"))
        assert again.counts["revisits"] == 1 and len(rig.site.requests) == 1  # it was renewed


async def test_a_page_that_is_another_one_by_now_takes_the_place_of_the_old_one(
    make: Make, tmp_path: Path
) -> None:
    async with make(cache=tmp_path / "c") as rig:
        rig.means.change(_with(rig, cache=0.0))
        rig.answer("/a", "old", 200, ("ETag", '"1"'))
        await rig.visit(rig.url("/a"))
        rig.answer("/a", "new", 200, ("ETag", '"2"'))
        ended = await rig.visit(rig.url("/a"))
        assert (page_of(ended).content, ended.counts) == (b"new", {"bytes": 3})
        rig.means.change(_with(rig, cache=100.0))
        assert page_of(await rig.visit(rig.url("/a"))).content == b"new"


def _with(rig: Rig, **changes: Any) -> Any:
    from msgspec.structs import replace

    return replace(rig.options, **changes)


# -- robots.txt -----------------------------------------------------------------------------------


async def test_what_robots_txt_allows_is_fetched_after_a_start_of_its_own(make: Make) -> None:
    async with make(robots=True, delay=0.2) as rig:
        rig.answer("/a")
        ended = await rig.visit(rig.url("/a"))
        assert rig.asked() == ["/robots.txt", "/a"]
        [kept] = [(field, text) for kind, field, text in ended.lives if kind == "robots"]
        assert kept[0].decode().startswith(rig.url("/robots.txt "))
        assert kept[0].decode().endswith(page_of(ended).visited.robots)
        assert b"Disallow: /deny" in kept[1]
        [turn] = await rig.means.clock.reserve([Slot("127.0.0.1", 0.2)], 5.0)
        assert turn.at - page_of(ended).visited.started > 0.199
        again = await rig.visit(rig.url("/a"))
        assert rig.asked("/robots.txt") == ["/robots.txt"]
        assert [one for one in again.lives if one[0] == "robots"] == []


async def test_what_robots_txt_forbids_is_skipped_with_the_line_that_says_so(make: Make) -> None:
    async with make(robots=True) as rig:
        ended = await rig.visit(rig.url("/deny"))
        assert rig.asked() == ["/robots.txt"]
    life = life_of(ended)
    assert (ended.outcome.what, life.reason, life.line) == ("s", "robots", "Disallow: /deny")
    assert ended.page is None and ended.tally == {"skip:robots": 1}


async def test_a_robots_txt_that_answers_5xx_is_waited_for_and_then_its_pages_are_dropped(
    make: Make,
) -> None:
    async with make(robots=True, settings={"robots_ttl": 0.0}) as rig:
        rig.answer("/robots.txt", "", 500)
        for attempt in range(ROBOTS_TIMES):
            ended = await rig.visit(rig.url("/a"), attempt=attempt)
            outcome = ended.outcome
            assert (outcome.what, outcome.due, outcome.reached) == ("r", ROBOTS_AFTER, True)
            assert outcome.item is not None and outcome.item.attempt == attempt + 1
            assert outcomes(ended) == ["robots.txt: 5xx"]
        ended = await rig.visit(rig.url("/a"), attempt=ROBOTS_TIMES)
        assert (ended.outcome.what, life_of(ended).reason) == ("s", "robots_away")
        assert set(rig.asked()) == {"/robots.txt"}


async def test_a_robots_txt_that_never_answers_is_a_failure_of_its_host(make: Make) -> None:
    async with RawOrigin(otherwise=(RESET,)) as dead, make(robots=True, retries=1) as rig:
        first = await rig.visit(dead.url + "/a")
        assert (first.outcome.what, first.outcome.reached) == ("r", False)
        assert outcomes(first) == ["its robots.txt: no answer"]
        asked = dead.connections
        item = first.outcome.item
        assert item is not None
        last = await rig.visit(dead.url + "/a", attempt=item.attempt, tries=item.tries)
        assert dead.connections > asked  # an attempt is one
    assert (last.outcome.what, last.outcome.reached) == ("f", False)
    page = page_of(last)
    assert (page.status_code, page.error, page.attempts) == (599, "its robots.txt: no answer", 2)
    assert len(life_of(last).tries) == 2


@pytest.mark.parametrize(
    ("asked", "kept", "clamped"), [("0.1", None, 0), ("0.3", 0.3, 0), ("30", 30.0, 0),
                                   ("31", MOST_CRAWL_DELAY, 1)],
)  # fmt: skip
async def test_crawl_delay_counts_where_it_is_longer_up_to_a_limit(
    make: Make, asked: str, kept: float | None, clamped: int
) -> None:
    async with make(robots=True, delay=0.2) as rig:
        rig.answer("/robots.txt", f"User-agent: *\nCrawl-delay: {asked}", kind="text/plain")
        rig.answer("/a")
        task = asyncio.ensure_future(rig.visit(rig.url("/a")))
        if (kept or 0) < 1:
            ended = await task
            assert page_of(ended).visited.delay == (kept or 0.2)
        else:  # its start lies behind that of robots.txt
            visit_is_waiting = await wait_until(
                lambda: rig.asked() == ["/robots.txt"] and rig.means.waiting
            )
            assert visit_is_waiting
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            rig.means.clock = Clock(rig.redis, "another")
            ended = await rig.visit(rig.url("/a"))
    delays = [(field, value) for kind, field, value in ended.lives if kind == "delays"]
    assert delays == ([] if kept is None else [(b"127.0.0.1", b"%g" % kept)])
    assert ended.tally.get("clamped", 0) == clamped


async def test_the_delay_that_is_known_of_a_host_is_kept_before_its_robots_txt(make: Make) -> None:
    async with make(robots=True, delay=0.0) as rig:
        rig.answer("/robots.txt", "User-agent: *\nCrawl-delay: 0.3", kind="text/plain")
        rig.answer("/a")
        ended = await rig.visit(rig.url("/a"), delay=0.3)
        assert [one for one in ended.lives if one[0] == "delays"] == []
        [turn] = await rig.means.clock.reserve([Slot("127.0.0.1", 0.0)], 0.0)
        assert not turn.granted and turn.wait > 0.1


async def test_a_robots_txt_that_is_asked_for_itself_is_not_judged_by_itself(make: Make) -> None:
    async with make(robots=True) as rig:
        rig.answer("/robots.txt", "User-agent: *\nDisallow: /\nSitemap: /t.xml\n"
                   f"Sitemap: {rig.url('/s.xml')}\nSitemap: ftp://x/")  # fmt: skip
        ended = await rig.visit(rig.url("/robots.txt"), flags=Flag.SEED | Flag.ROBOTS)
        assert (ended.outcome.what, life_of(ended).reason) == ("m", "robots.txt, 2 URLs")
        found = [lease.item for lease in (await rig.frontier.take(9, delay=0)).leases]
        assert {one.url for one in found} <= {rig.url("/s.xml"), rig.url("/t.xml")}
        assert {one.flags for one in found} == {Flag.SEED | Flag.SITEMAP | Flag.JUDGED}


# -- the clock ------------------------------------------------------------------------------------


async def test_a_url_whose_turn_is_too_far_off_goes_back_until_then(make: Make) -> None:
    async with make() as rig:
        await rig.means.clock.block("127.0.0.1", retry_after=50, started=0.0, draw=0.0)
        ended = await rig.visit(rig.url("/a"))
        assert rig.asked() == []
    assert (ended.outcome.what, ended.outcome.reached) == ("b", None)
    assert 45 < ended.outcome.due <= 50
    assert (ended.page, ended.lives, rig.means.waiting) == (None, [], 0)


async def test_who_has_waited_looks_whether_he_is_still_wanted(make: Make) -> None:
    async with make() as rig:
        await rig.means.clock.block("127.0.0.1", retry_after=20, started=0.0, draw=0.0)
        task = asyncio.ensure_future(rig.visit(rig.url("/a"), delay=20.0))
        await wait_until(lambda: rig.means.waiting)
        rig.means.halt(True)
        ended = await asyncio.wait_for(task, 2)
        assert (ended.outcome.what, rig.means.waiting, rig.means.leaving) == ("b", 0, set())
        assert (await rig.visit(rig.url("/a"))).outcome.what == "b"
        assert rig.asked() == []


async def test_starts_at_one_host_keep_their_distance(make: Make) -> None:
    async with make(delay=0.1) as rig:
        rig.answer("/a")
        ended = await asyncio.gather(*(rig.visit(rig.url("/a")) for _ in range(3)))
    starts = sorted(page_of(one).visited.started for one in ended if one.page is not None)
    assert len(starts) >= 2
    assert min(b - a for a, b in itertools.pairwise(starts)) >= 0.0999


@pytest.mark.parametrize(
    ("polite", "host", "key"),
    [
        ("host", "h1.localhost", "h1.localhost"),
        ("domain", "a.b.localhost", "b.localhost"),
        ("ip", "h1.localhost", "127.0.0.1"),
    ],
)
async def test_whose_clock_it_is_can_be_chosen(
    make: Make, polite: str, host: str, key: str
) -> None:
    async with make(polite=polite) as rig:
        rig.answer("/a")
        ended = await rig.visit(rig.url("/a", host))
        assert page_of(ended).visited.polite == key


# -- answers that are none ------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 503])
async def test_429_and_503_block_the_host_and_are_tried_again_that_often(
    make: Make, status: int
) -> None:
    async with make(block=0.1, retries=1) as rig:
        rig.answer("/a", "wait", status)
        ended = await rig.visit(rig.url("/a"))
        assert (ended.outcome.what, ended.outcome.reached, ended.page) == ("r", True, None)
        assert outcomes(ended) == [str(status)]
        [(host, _)] = await rig.means.clock.blocked()
        assert host == "127.0.0.1"
        last = await rig.visit(rig.url("/a"), attempt=1 + MOST_BLOCKS)
        assert (last.outcome.what, page_of(last).status_code) == ("d", status)


async def test_retry_after_is_how_long_the_host_is_left_alone(make: Make) -> None:
    async with make(block=0.1) as rig:
        rig.answer("/a", "wait", 429, ("Retry-After", "100"))
        await rig.visit(rig.url("/a"))
        ended = await rig.visit(rig.url("/b"))
        assert ended.outcome.what == "b" and 90 < ended.outcome.due <= 100


async def test_errors_of_a_server_are_tried_again_with_pauses_that_double(make: Make) -> None:
    async with make(retries=2) as rig:
        rig.answer("/a", "<a href=/b>", 500)
        item: Any = {}
        for attempt, pause in enumerate((1.0, 2.0)):
            ended = await rig.visit(rig.url("/a"), **item)
            assert (ended.outcome.what, ended.outcome.due) == ("r", pause)
            assert ended.outcome.item is not None and ended.page is None
            item = {"attempt": ended.outcome.item.attempt, "tries": ended.outcome.item.tries}
            assert item["attempt"] == attempt + 1
        ended = await rig.visit(rig.url("/a"), **item)
    assert (ended.outcome.what, page_of(ended).status_code, ended.arrivals) == ("d", 500, [])
    assert page_of(ended).attempts == 3
    assert [one.outcome for one in life_of(ended).tries] == ["500"] * 3


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ((RESET,), "reset"),
        ((b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", RESET), ""),
        ((HANG,), "tim"),
        ((b"nonsense\r\n\r\n",), ""),
        ((), ""),
    ],
)
async def test_without_an_answer_it_is_a_failure_that_names_its_attempts(
    make: Make, script: tuple[Any, ...], said: str
) -> None:
    async with RawOrigin() as origin, make(retries=1, timeout=0.3) as rig:
        url = origin.add(*script)
        first = await rig.visit(url)
        assert (first.outcome.what, first.outcome.reached, first.outcome.due) == ("r", False, 1.0)
        assert said in outcomes(first)[0].lower() and outcomes(first)[0]
        assert first.outcome.item is not None
        last = await rig.visit(url, attempt=1, tries=first.outcome.item.tries)
    assert (last.outcome.what, last.outcome.reached) == ("f", False)
    page = page_of(last)
    assert (page.status_code, page.attempts, page.body) == (599, 2, b"")
    assert page.error == life_of(last).tries[1].outcome
    assert len(life_of(last).tries) == 2


async def test_only_the_last_attempts_are_kept(make: Make) -> None:
    async with make() as rig:
        rig.answer("/a")
        tries = [Try(float(n), str(n)) for n in range(5)]
        ended = await rig.visit(rig.url("/a"), tries=tries)
    assert [one.outcome for one in life_of(ended).tries] == ["1", "2", "3", "4", "200"]


async def test_a_proxy_is_named_without_its_password(make: Make) -> None:
    async with (
        RawOrigin(otherwise=(RESET,)) as proxy,
        make(proxy=f"http://user:secret@{proxy.netloc}", retries=0) as rig,
    ):
        ended = await rig.visit("http://example.com/")
    [one] = life_of(ended).tries
    assert one.exit is not None and proxy.netloc in one.exit and "secret" not in one.exit
    assert page_of(ended).proxy == one.exit and page_of(ended).address == ""


@pytest.mark.parametrize("size", [999, 1000, 1001])
@pytest.mark.parametrize("is_archive", [False, True])
async def test_a_body_may_have_so_many_bytes(
    make: Make, tmp_path: Path, size: int, is_archive: bool
) -> None:
    out = (str(tmp_path / "a.warc.gz"),) if is_archive else ()
    async with make(settings={"max_body": 1000}, out=out) as rig:
        rig.answer("/a", "x" * size)
        ended = await rig.visit(rig.url("/a"))
    page = page_of(ended)
    if size <= 1000:
        assert (ended.outcome.what, len(page.body)) == ("d", size)
        return
    # It would be as large the next time.
    assert (ended.outcome.what, page.status_code, page.body) == ("f", 599, b"")
    assert ended.outcome.reached is not False
    assert page.error is not None and "the body is " in page.error
    assert [one.outcome for one in life_of(ended).tries] == [page.error]


async def test_an_endless_body_is_cut_off_for_an_archive_too(make: Make, tmp_path: Path) -> None:
    async def endless(call: Call) -> None:
        await call.begin(200, [("Content-Type", "text/plain")])
        while True:
            await call.write(b"x" * 10_000)

    out = (str(tmp_path / "a.warc.gz"),)
    async with make(settings={"max_body": 100_000}, out=out) as rig:
        rig.serve("/a", endless)
        ended = await rig.visit(rig.url("/a"))
        assert ended.outcome.what == "f"
        await wait_until(lambda: rig.means.fetcher.in_flight == 0)


async def test_what_has_killed_many_processes_is_given_up(make: Make) -> None:
    async with make() as rig:
        rig.answer("/a")
        assert (await rig.visit(rig.url("/a"), recovered=DEADLY - 1)).outcome.what == "d"
        ended = await rig.visit(rig.url("/a"), recovered=DEADLY)
        assert len(rig.asked()) == 1
    assert (ended.outcome.what, ended.outcome.reached) == ("f", None)
    assert f"{DEADLY} processes have died" in (page_of(ended).error or "")
    assert life_of(ended).tries == []


async def test_a_fault_of_ours_is_that_page_s_alone(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    async with make() as rig:
        rig.answer("/a", "x")
        rig.means.reader = None  # type: ignore[assignment]
        ended = await rig.visit(rig.url("/a"))
    assert (ended.outcome.what, page_of(ended).status_code) == ("f", 599)
    assert (page_of(ended).error or "").startswith("AttributeError: ")
    assert "a visit to http://127.0.0.1" in caplog.text and "Traceback" in caplog.text


# -- redirects ------------------------------------------------------------------------------------


async def test_a_redirect_s_target_is_a_url_of_its_own(make: Make) -> None:
    async with make() as rig:
        rig.answer("/a", "", 302, ("Location", "/b#part"), ("Set-Cookie", "k=v"))
        ended = await rig.visit(rig.url("/a"), depth=3, parent="/p", cookies={"old": "1"})
    assert (ended.outcome.what, ended.page, ended.counts) == ("m", None, {"redirects": 1})
    assert (life_of(ended).fate, life_of(ended).reason) == ("m", rig.url("/b"))
    [target] = ended.arrivals
    item = target.item
    assert (item.url, target.depth, target.host) == (rig.url("/b"), 3, "127.0.0.1")
    assert (item.first, item.hops, item.parent_url) == (rig.url("/a"), 1, rig.url("/p"))
    assert item.cookies == {"old": "1", "k": "v"}


async def test_the_first_url_of_a_chain_is_remembered(make: Make) -> None:
    async with make() as rig:
        rig.answer("/b", "", 301, ("Location", "/c"))
        ended = await rig.visit(rig.url("/b"), first=rig.url("/a"), hops=1)
    [target] = ended.arrivals
    assert (target.item.first, target.item.hops) == (rig.url("/a"), 2)


async def test_a_source_may_lead_to_another_host_and_takes_no_cookies_there(make: Make) -> None:
    async with make() as rig:
        there = rig.url("/b", "h1.localhost")
        rig.answer("/a", "", 302, ("Location", there), ("Set-Cookie", "k=v"))
        flags = Flag.SEED | Flag.LIST
        ended = await rig.visit(rig.url("/a"), flags=flags)
    [target] = ended.arrivals
    assert (target.item.url, target.host, target.item.cookies) == (there, "h1.localhost", {})
    assert target.item.flags & flags == flags


async def test_a_link_that_leads_out_of_scope_is_skipped_and_told(make: Make) -> None:
    async with make() as rig:
        there = rig.url("/b", "h1.localhost")
        rig.answer("/a", "", 302, ("Location", there))
        ended = await rig.visit(rig.url("/a"))
    assert (ended.outcome.what, ended.arrivals) == ("m", [])
    assert ended.counts == {"redirects": 1, "skipped": 1} and ended.tally == {"skip:scope": 1}
    skipped = life_of(ended, "skips")
    assert (skipped.url, skipped.parent, skipped.reason) == (there, rig.url("/a"), "scope")


async def test_a_source_too_may_not_lead_to_what_is_excluded(make: Make) -> None:
    async with make(exclude=("/b",)) as rig:
        rig.answer("/a", "", 302, ("Location", "/b"))
        ended = await rig.visit(rig.url("/a"), flags=Flag.SEED)
    assert (ended.arrivals, life_of(ended, "skips").reason) == ([], "exclude")


async def test_where_a_source_leads_its_directory_is_in_scope(make: Make) -> None:
    async with make(scope="prefix") as rig:
        rig.answer("/a", "", 302, ("Location", "/new/b"))
        ended = await rig.visit(rig.url("/a"), flags=Flag.SEED)
    assert [one[1:] for one in ended.lives if one[0] == "scopes"] == [
        (rig.url("/new/").removeprefix("http://").encode(), b"")
    ]


@pytest.mark.parametrize("hops", [MOST_HOPS - 1, MOST_HOPS, MOST_HOPS + 1])
async def test_so_many_redirects_in_a_row_are_followed(make: Make, hops: int) -> None:
    async with make() as rig:
        rig.answer("/a", "", 302, ("Location", "/b"))
        ended = await rig.visit(rig.url("/a"), hops=hops)
    if hops < MOST_HOPS:
        assert (ended.outcome.what, len(ended.arrivals)) == ("m", 1)
    else:
        assert (ended.outcome.what, ended.arrivals) == ("s", [])
        assert life_of(ended).reason == "hops"


async def test_a_page_that_sends_back_to_itself_with_a_cookie_is_asked_again_with_it(
    make: Make,
) -> None:
    async with make() as rig:
        rig.answer("/a", "", 302, ("Location", "/a"), ("Set-Cookie", "k=v"))
        ended = await rig.visit(rig.url("/a"))
        item = ended.outcome.item
        assert item is not None
        assert (ended.outcome.what, item.cookies, item.hops) == ("r", {"k": "v"}, 1)
        # The same cookie once more changes nothing: then it is a page.
        again = await rig.visit(rig.url("/a"), cookies=item.cookies, hops=1)
    assert (again.outcome.what, page_of(again).status_code) == ("d", 302)


async def test_a_loop_that_sets_another_cookie_each_time_ends(make: Make) -> None:
    numbers = itertools.count()

    async def loop(call: Call) -> None:
        fields = [("Location", "/a"), ("Set-Cookie", f"k={next(numbers)}")]
        await call.send(b"", 302, fields=fields)

    async with make() as rig:
        rig.serve("/a", loop)
        item: Any = {}
        for _ in range(MOST_HOPS):
            ended = await rig.visit(rig.url("/a"), **item)
            assert ended.outcome.item is not None
            item = {"cookies": ended.outcome.item.cookies, "hops": ended.outcome.item.hops}
        ended = await rig.visit(rig.url("/a"), **item)
    assert (ended.outcome.what, life_of(ended).reason) == ("s", "hops")


@pytest.mark.parametrize("location", ["ftp://a/", "http://[", "mailto:a@b", "http://"])
async def test_a_redirect_that_leads_nowhere_is_a_page(make: Make, location: str) -> None:
    async with make() as rig:
        rig.answer("/a", "", 302, ("Location", location))
        ended = await rig.visit(rig.url("/a"))
    assert (ended.outcome.what, page_of(ended).status_code) == ("d", 302)


# -- trust ----------------------------------------------------------------------------------------


async def test_what_a_public_page_led_to_is_not_asked_for_at_a_private_address(make: Make) -> None:
    async with make(retries=3) as rig:
        ended = await rig.visit(rig.url("/a"), flags=Flag.GUARDED)
        assert rig.asked() == []
    assert (ended.outcome.what, life_of(ended).reason) == ("s", "private")
    async with make(retries=3) as rig:
        ended = await rig.visit(rig.url("/a", "h1.localhost"), flags=Flag.GUARDED)
        assert rig.asked() == []
    assert (ended.outcome.what, life_of(ended).reason) == ("s", "private")


async def test_what_a_private_page_leads_to_may_be_private(make: Make) -> None:
    async with make(scope="any") as rig:
        rig.answer("/a", f"<a href={rig.url('/b', 'h1.localhost')}><a href=http://10.0.0.1/>")
        ended = await rig.visit(rig.url("/a"))
    assert [one.item.flags for one in ended.arrivals] == [0, 0]


async def test_what_a_public_name_leads_to_through_a_proxy_is_guarded(make: Make) -> None:
    body = b"<a href=http://10.0.0.1/>"
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%b"
    async with RawOrigin(otherwise=(answer % (len(body), body),)) as proxy:
        for host, flags in (("example.com", Flag.GUARDED), ("intranet", 0)):
            async with make(scope="any", proxy=f"http://{proxy.netloc}") as rig:
                ended = await rig.visit(f"http://{host}/")
            assert [one.item.flags for one in ended.arrivals] == [flags]
        async with make(
            scope="any", proxy=f"http://{proxy.netloc}", settings={"allow_private": "all"}
        ) as rig:
            ended = await rig.visit("http://example.com/")
        assert [one.item.flags for one in ended.arrivals] == [0]


# -- codings --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("coding", "code"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("", bytes)]
)
async def test_for_an_archive_a_body_stays_as_it_came(
    make: Make, tmp_path: Path, coding: str, code: Callable[[bytes], bytes]
) -> None:
    plain = b"<title>A</title>" + b"words " * 100
    async with make(out=(str(tmp_path / "a.warc.gz"),)) as rig:
        fields = [("Content-Encoding", coding)] if coding else []
        rig.answer("/a", code(plain), 200, *fields)
        ended = await rig.visit(rig.url("/a"))
    page = page_of(ended)
    assert (page.body, page.content, page.title) == (code(plain), plain, "A")
    assert page.undone == bool(coding)
    assert ended.counts["bytes"] == len(page.body)
    assert coding.encode() in page.head.lower() and b"X-Archive-Orig" not in page.head
    assert page.request.startswith(b"GET /a HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"Accept-Encoding: deflate, gzip" in page.request


async def test_without_an_archive_the_content_is_what_is_kept(make: Make) -> None:
    async with make() as rig:
        rig.answer("/a", gzip.compress(b"plain"), 200, ("Content-Encoding", "gzip"))
        page = page_of(await rig.visit(rig.url("/a")))
    assert (page.body, page.content, page.request) == (b"plain", b"plain", b"")
    assert b"X-Archive-Orig-Content-Encoding: gzip" in page.head


async def test_a_coding_that_cannot_be_undone_leaves_an_archive_its_body(
    make: Make, tmp_path: Path
) -> None:
    async with make(out=(str(tmp_path / "a.warc.gz"),)) as rig:
        broken = gzip.compress(b"plain")[:10] + b"no deflate"
        rig.answer("/a", broken, 200, ("Content-Encoding", "gzip"))
        ended = await rig.visit(rig.url("/a"))
        rig.answer("/b", b"<title>b</title>", 200, ("Content-Encoding", "rot13"))
        other = await rig.visit(rig.url("/b"))
    page = page_of(ended)
    assert (ended.outcome.what, page.body, page.content) == ("d", broken, broken)
    assert not page.undone
    assert page_of(other).title == "b"


# -- lists ----------------------------------------------------------------------------------------


async def test_a_source_whose_answer_is_a_list_is_read_and_its_urls_are_queued(make: Make) -> None:
    async with make() as rig:
        rig.answer("/l.txt", f"{rig.url('/a')}\n{rig.url('/b')}\n", kind="text/plain")
        ended = await rig.visit(rig.url("/l.txt"), flags=Flag.SEED)
        assert (ended.outcome.what, life_of(ended).reason) == ("m", "text, 2 URLs")
        found = (await rig.frontier.take(9, delay=0)).leases
    assert sorted(one.item.url for one in found) == [rig.url("/a"), rig.url("/b")]
    assert {one.item.flags for one in found} == {Flag.SEED | Flag.LEAF | Flag.PAGE}


# -- the end --------------------------------------------------------------------------------------


async def test_a_visit_that_is_cancelled_leaves_nothing_behind(make: Make, tmp_path: Path) -> None:
    async def wait(do: Awaitable[Any], until: Callable[[], object]) -> None:
        task = asyncio.ensure_future(do)
        await wait_until(until)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    async with make(robots=True, out=(str(tmp_path / "a.warc.gz"),)) as rig:
        rig.serve("/never", _never)
        await wait(rig.visit(rig.url("/never")), lambda: "/never" in rig.asked())
        await rig.means.clock.block("127.0.0.1", retry_after=1.5, started=0.0, draw=0.0)
        await wait(rig.visit(rig.url("/b")), lambda: rig.means.waiting)
        assert (rig.means.waiting, rig.means.fetcher.in_flight) == (0, 0)
    async with RawOrigin(otherwise=(HANG,)) as silent, make(robots=True) as rig:
        await wait(rig.visit(silent.url + "/a"), lambda: silent.open)


async def _never(call: Call) -> None:
    await call.raw().read_until_close()


async def test_a_visit_that_is_cancelled_in_its_callback_is_not_missed(
    make: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "calls.py").write_text(
        "import time, pathlib\n"
        "def see(url, html):\n"
        "    pathlib.Path('begun').touch()\n"
        "    while not pathlib.Path('go').exists(): time.sleep(0.01)\n"
        "    return {'url': url}\n"
    )
    async with make(callback="calls:see") as rig:
        rig.answer("/a", "x")
        task = asyncio.ensure_future(rig.visit(rig.url("/a")))
        await wait_until((tmp_path / "begun").exists)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        (tmp_path / "go").touch()
        ended = await rig.visit(rig.url("/a"))  # it comes behind the one that nobody waits for
    assert page_of(ended).items == [{"url": rig.url("/a")}]
    assert caplog.records == []
