"""`crawls`: what it tells of crawls, and does to them."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fetcher.crawl.canonical import host_of
from fetcher.crawl.frontier.frontier import Arrival, Batch, Frontier, Outcome
from fetcher.crawl.machine import worker_name
from fetcher.crawl.model import Item, Options, Try, url_id
from fetcher.politeness.clock import Clock
from fetchpool.redis.connect import connect
from tests.e2e.crawling import WebProcess, serving_web
from tests.fetcher.crawl.test_crawl import dead_process
from tests.fetchpool.command import run
from tests.fetchpool.commands.crawling import Console
from tests.redis_server import RedisServer

pytestmark = pytest.mark.timeout(60)

DEAD = "http://127.0.0.1:1/"
A, B = "http://h.test/a", "http://h.test/b"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("all")


@pytest.fixture(scope="module")
def site(folder: Path) -> Iterator[WebProcess]:
    with serving_web(folder, 4, 4) as started:
        yield started


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer.start(tmp_path_factory.mktemp("r")) as started:
        yield started


@pytest.fixture(scope="module")
def done(folder: Path, site: WebProcess, server: RedisServer) -> str:
    """A crawl that is over, in which URLs had all kinds of fates."""
    words = ("--delay", "0.01", "--scope", "any", "--depth", "3", "--exclude", "/loop")
    more = ("--retries", "1", "--out", "a.jsonl", "--out", "a.csv", "--name", "done", "--quiet")
    sources = (*site.web.starts, DEAD)
    got = run(folder, "--redis", server.url, "crawl", *sources, *words, *more)
    assert (got.code, got.out) == (0, ""), got.err
    return "done"


@pytest.fixture
def console(
    server: RedisServer,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Console:
    monkeypatch.chdir(folder)
    return Console(server.url, capsys)


Act = Callable[[Frontier, Clock], Awaitable[Any]]


def made(server: RedisServer, name: str, *urls: str, act: Act | None = None, **options: Any) -> str:
    """A crawl with these URLs in its frontier, as `act` leaves it; its name."""

    async def make() -> None:
        async with connect(server.url) as redis:
            frontier = Frontier(redis, "fetchpool", name, "elsewhere:x:1:y")
            assert await frontier.create(Options(sources=("http://h.test/",), **options))
            await frontier.say_seeded()
            items = [Item(url=url, parent="/p") for url in urls]
            await frontier.add([Arrival(url_id(i.url), host_of(i.url), 1, i) for i in items])
            if act is not None:
                clock = Clock(redis, "fetchpool")
                await act(frontier, clock)
                clock.close()

    asyncio.run(make())
    return name


def state_of(console: Console, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(console.crawls("show", name, form="json").out)
    return found


# -- list and show --------------------------------------------------------------------------------


def test_all_crawls_are_listed_with_how_far_they_are(console: Console, done: str) -> None:
    got = console.crawls("list", form="text")
    assert got.code == 0 and got.err == ""
    [line] = [line for line in got.out.splitlines() if line.startswith(done)]
    assert line.rstrip().endswith("finished")
    found = json.loads(console.crawls("list", form="json").out)
    [one] = [one for one in found if one["name"] == done]
    assert one["phase"] == "finished" and one["counts"]["failed"] == 1


def test_without_a_crawl_that_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with RedisServer.start(tmp_path) as empty:
        console = Console(empty.url, capsys)
        assert console.crawls("list", form="text") == (0, "there are no crawls\n", "")
        assert console.crawls("list", form="json") == (0, "[]\n", "")
        got = console.crawls("show", "nobody", form="text")
        assert (got.code, got.err) == (
            *(2, "fetchpool: there is no crawl nobody: there are none\n"),
        )


def test_one_is_shown_with_its_summary_and_options(console: Console, done: str) -> None:
    got = console.crawls("show", done, form="text")
    assert got.code == 0 and f"{done}: finished" in got.out
    assert "largest hosts" in got.out and "robots.txt forbids it" in got.out
    found = state_of(console, done)
    assert found["state"]["processes"] == 0 and found["options"]["depth"] == 3
    assert found["summary"]["skips"]["robots"] == 1
    assert found["state"]["ended"] >= found["state"]["started"] > 0


@pytest.mark.parametrize(
    "verb", ["show", "pause", "continue", "stop", "set", "why", "audit", "remove"]
)
def test_one_that_is_not_there_is_2_and_names_those_that_are(
    console: Console, done: str, verb: str
) -> None:
    more: dict[str, Any] = {"set": {"changes": {"delay": 1.0}}, "why": {"url": A}}
    got = console.crawls(verb, "nobody", **more.get(verb, {}))
    assert (got.code, got.out) == (2, "")
    assert re.search(rf"there is no crawl nobody: there are .*\b{done}\b", got.err)


def test_what_a_crawl_waits_for_is_shown(console: Console, server: RedisServer) -> None:
    async def act(frontier: Frontier, clock: Clock) -> None:
        await clock.block("h.test", retry_after=500, started=await clock.now(), draw=0.0)
        await frontier.take(1, delay=500.0)

    name = made(server, "waits", A, B, act=act)
    got = console.crawls("show", name, form="text")
    assert "h.test waits until" in got.out and "it answered 429 or 503" in got.out
    assert "1 page is under way" in got.out


def test_hosts_that_are_down_are_shown(console: Console, server: RedisServer) -> None:
    async def act(frontier: Frontier, _: Clock) -> None:
        for _n in range(5):
            [lease] = (await frontier.take(1, delay=0.0)).leases
            outcome = Outcome(lease=lease, what="r", reached=False, item=lease.item)
            await frontier.finish(Batch(outcomes=[outcome]))

    name = made(server, "down", A, B, act=act)
    got = console.crawls("show", name, form="text")
    assert "1 host is down, after five failures to reach in a row: h.test" in got.out
    why = console.crawls("why", name, url=B)
    assert "its host could not be reached five times" in why.out


# -- pause, continue, stop, set, remove ----------------------------------------------------------


def test_a_crawl_is_paused_continued_and_stopped(console: Console, server: RedisServer) -> None:
    name = made(server, "turns", A)
    refused = console.crawls("continue", name)
    assert refused == (1, "", "turns is not paused: it is running\n")
    assert console.crawls("pause", name).out == "turns: paused; `crawls continue turns` goes on\n"
    assert state_of(console, name)["state"]["phase"] == "paused"
    assert console.crawls("continue", name) == (0, "turns: goes on\n", "")
    assert console.crawls("pause", name).code == 0
    stopped = console.crawls("stop", name)
    assert stopped == (0, "turns: stopping; `crawl --resume turns` goes on\n", "")
    assert state_of(console, name)["state"]["ended"] > 0
    for verb in ("pause", "stop"):
        got = console.crawls(verb, name)
        assert got == (1, "", "turns does not run: it is stopped\n")


@pytest.mark.parametrize("verb", ["pause", "stop"])
def test_what_has_finished_stays_so(console: Console, done: str, verb: str) -> None:
    assert console.crawls(verb, done) == (1, "", "done does not run: it is finished\n")


def test_options_are_changed_and_patterns_are_added(console: Console, server: RedisServer) -> None:
    name = made(server, "set", A, exclude=("one",))
    changes = {"delay": 3.0, "exclude": ("two",)}
    assert console.crawls("set", name, changes=changes).code == 0
    found = state_of(console, name)["options"]
    assert (found["delay"], found["exclude"]) == (3.0, ["one", "two"])


def test_a_proxy_is_not_changed_under_those_that_use_it(
    console: Console, server: RedisServer
) -> None:
    async def act(frontier: Frontier, _: Clock) -> None:
        await frontier.join()

    got = console.crawls("set", made(server, "proxied", act=act), changes={"proxy": "direct"})
    assert got.code == 1 and "`crawls stop` them first" in got.err
    idle = made(server, "idle")
    assert console.crawls("set", idle, changes={"proxy": "direct"}).code == 0
    assert state_of(console, idle)["options"]["proxy"] == "direct"


@pytest.mark.parametrize("who", ["living", "elsewhere", "killed"])
def test_a_crawl_is_forgotten_when_nobody_works_on_it(
    console: Console, server: RedisServer, who: str
) -> None:
    names = {"living": worker_name(), "elsewhere": "elsewhere:x:1:y", "killed": dead_process()}

    async def act(frontier: Frontier, _: Clock) -> None:
        frontier.worker = names[who]
        await frontier.join()

    name = made(server, f"gone-{who}", A, act=act)
    got = console.crawls("remove", name)
    if who == "killed":
        assert got == (0, f"{name} is forgotten; its files stay\n", "")
        assert console.crawls("show", name, form="text").code == 2
    else:
        assert got.code == 1 and f"{name} has 1 processes at work" in got.err
        assert console.crawls("show", name, form="text").code == 0


# -- why ------------------------------------------------------------------------------------------


def test_each_fate_is_told_with_what_decided_it(
    console: Console, done: str, site: WebProcess
) -> None:
    web = site.web

    def why(url: str) -> str:
        got = console.crawls("why", done, url=url)
        assert got.code == 0
        return got.out

    page = why(web.page(0, 1))
    assert f"{web.page(0, 1)}: it is a page of the crawl" in page
    assert f"found on {web.page(0, 0)} (depth 1)" in page
    assert re.search(r"attempt 1: \d{4}-.* UTC, direct, 0\.\d\d s: 200", page)
    assert "a source names it" in why(web.page(0, 0))
    moved = why(f"http://{web.host(0)}/moved")
    assert f"it led to http://{web.host(0)}/once" in moved
    robots = why(web.page(1, 3))
    assert "robots.txt forbids it" in robots and "Disallow: /p3$" in robots
    assert f"found on {web.page(1, 1)}" in robots
    assert "an --exclude pattern matches it" in why(f"http://{web.host(0)}/loop/a")
    assert "it lies deeper than --depth" in why(web.page(3, 3))
    failed = why(DEAD)
    assert "it could not be fetched" in failed and failed.count("attempt ") == 2
    assert "404" in why(f"http://{web.host(0)}/nowhere")
    unknown = why("http://nobody.test/")
    assert "no page has named it so far, and no source" in unknown
    assert "--exclude '/loop' matches it" in why("http://nobody.test/loop")


def test_what_is_queued_or_under_way_is_told_with_what_its_host_waits_for(
    console: Console, server: RedisServer
) -> None:
    async def act(frontier: Frontier, clock: Clock) -> None:
        taken = await frontier.take(1, delay=300.0)
        assert [one.item.url for one in taken.leases] == [first]

    first, second = "http://q.test/a", "http://q.test/b"
    name = made(server, "queued", first, second, act=act)
    running = console.crawls("why", name, url=first).out
    assert f"{first}: it is being fetched" in running
    queued = console.crawls("why", name, url=second).out
    assert f"{second}: it is queued; its host may be asked again in" in queued
    assert "the delay between two starts" in queued
    assert "found on http://q.test/p (depth 1)" in queued
    backlog = made(server, "backlog", "http://r.test/")
    assert "http://r.test/: it is queued\n" in (
        console.crawls("why", backlog, url="http://r.test/").out
    )


def test_attempts_that_have_failed_are_told_while_it_is_queued(
    console: Console, server: RedisServer
) -> None:
    async def act(frontier: Frontier, clock: Clock) -> None:
        await frontier.add(
            [Arrival(7, "h.test", 0, Item(url=B, tries=[Try(1e9, "reset", 0.5, "http://p:1")]))]
        )
        await clock.block("h.test", retry_after=99, started=await clock.now(), draw=0.0)

    name = made(server, "tried", act=act)
    got = console.crawls("why", name, url=B).out
    assert "attempt 1: 2001-09-09 01:46:40 UTC, through http://p:1, 0.50 s: reset" in got
    assert "it answered 429 or 503" in got


def test_what_was_decided_and_is_kept_no_longer_is_told_so(
    console: Console, server: RedisServer
) -> None:
    async def act(frontier: Frontier, _: Clock) -> None:
        leases = (await frontier.take(9, delay=0.0)).leases
        outcomes = [Outcome(lease=one, what="d", reached=True) for one in leases]
        await frontier.finish(Batch(outcomes=outcomes))

    name = made(server, "forgotten", A, act=act)
    assert "what became of it is kept no longer" in console.crawls("why", name, url=A).out


# -- audit ----------------------------------------------------------------------------------------


def test_an_audit_proves_the_files_and_finds_what_is_wrong(
    console: Console, done: str, folder: Path
) -> None:
    got = console.crawls("audit", done)
    assert got.code == 0, got.out
    assert got.out.count("nothing is violated") == 2
    part = str(folder / "a.jsonl")
    one = console.crawls("audit", done, files=(part,))
    assert one.code == 0 and one.out.count("nothing is violated") == 1
    other = console.crawls("audit", done, files=("/no/such",))
    assert other.code == 2 and "/no/such: no part of done" in other.err
    whole = Path(part).read_bytes()
    try:
        lines = whole.splitlines(keepends=True)
        Path(part).write_bytes(b"".join([*lines[:-1], lines[0]]))
        bad = console.crawls("audit", done)
        assert bad.code == 1 and "VIOLATED" in bad.out
    finally:
        Path(part).write_bytes(whole)


def test_a_crawl_without_files_has_nothing_to_audit(console: Console, server: RedisServer) -> None:
    got = console.crawls("audit", made(server, "fileless"))
    assert got == (0, "the crawl writes no files: there is nothing to audit\n", "")


def test_parts_of_other_machines_are_audited_there(console: Console, server: RedisServer) -> None:
    async def act(frontier: Frontier, _: Clock) -> None:
        await frontier.claim_parts(["afar:/x/a.jsonl"])

    name = made(server, "afar", act=act, out=("/x/a.jsonl",))
    got = console.crawls("audit", name)
    assert (got.code, got.err) == (0, "parts on afar are audited there\n")
