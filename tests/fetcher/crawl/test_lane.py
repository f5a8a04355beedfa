"""The lane of a crawl: what is written and what Redis knows are the same, whatever breaks."""

import asyncio
import json
import resource
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from fetcher.crawl.frontier.frontier import MOST_ARRIVALS, Lease, Outcome, Taken
from fetcher.crawl.lane import CrawlLane
from fetcher.crawl.model import Counts, Item, Page, url_id
from fetcher.crawl.output.outputs import OutputError
from fetcher.crawl.visit import Ended
from fetcher.errors import RedisAway
from fetcher.queue_loop import QueueLoop
from fetchpool.farm import Call
from tests.fetcher.crawl.output.pages import make_page
from tests.fetcher.crawl.rig import Rig, rigged
from tests.redis_relay import relayed
from tests.wait import wait_until

pytestmark = pytest.mark.usefixtures("nothing_breaks_on_the_loop")


def written(*paths: Path) -> Counter[str]:
    """URLs of the lines, each of which has to be whole."""
    found: Counter[str] = Counter()
    for path in paths:
        data = path.read_bytes()
        assert not data or data.endswith(b"\n")
        found.update(json.loads(line)["url"] for line in data.splitlines())
    return found


async def work(lane: CrawlLane, leases: list[Lease]) -> list[Ended]:
    """All visits, to their ends."""
    ended: list[Ended] = []
    for lease in leases:
        lane.start(lease, ended.append)
    await wait_until(lambda: len(ended) == len(leases))
    return ended


async def take(rig: Rig, room: int = 100) -> list[Lease]:
    return list(await rig.lane.take(room))


async def mark_of(rig: Rig, path: Path) -> int:
    """Bytes that Redis says count."""
    marks = await rig.frontier.marks()
    return next(mark.bytes for key, mark in marks.items() if key.endswith(str(path)))


def hosts(rig: Rig, number: int) -> list[str]:
    """Pages of so many hosts, each of which the site has."""
    rig.answer("/", "<p>hello")
    return [rig.url("/", f"h{n}.localhost") for n in range(number)]


def ended_of(lease: Lease, page: Page | None = None, **more: Any) -> Ended:
    if page is None:
        page = make_page(lease.item.url)
    return Ended(outcome=Outcome(lease=lease, what="d", reached=True), page=page, **more)


@asynccontextmanager
async def looping(rig: Rig) -> AsyncIterator[QueueLoop]:
    loop = QueueLoop([rig.lane])
    loop.start()
    yield loop
    await loop.stop(10)


# -- the usual ------------------------------------------------------------------------------------


async def test_what_is_fetched_is_written_marked_and_followed(redis, tmp_path):
    out = tmp_path / "a.jsonl"
    async with rigged(redis, out=(str(out),)) as rig:
        rig.answer("/a", "<a href=/b><a href=/b>")
        rig.answer("/b", "<a href=/a>")
        await rig.queue(rig.url("/a"))
        async with looping(rig):
            await wait_until(lambda: len(rig.asked()) == 2)
        assert rig.lane.is_idle
        assert written(out) == {rig.url("/a"): 1, rig.url("/b"): 1}
        assert await mark_of(rig, out) == out.stat().st_size
        counts = await rig.frontier.counts()
        assert (counts.done, counts.queued, counts.running, counts.hosts) == (2, 0, 0, 0)
        assert await rig.frontier.is_member("done", url_id(rig.url("/b")))
        assert (await rig.frontier.tally())[b"status:200"] == b"2"
        assert (await rig.frontier.take(1, delay=0)).state == "finished"


async def test_whoever_takes_is_told_how_the_crawl_stands(redis):
    async with rigged(redis) as rig:
        heard: list[Taken] = []
        rig.lane.heard = heard.append
        await rig.queue(*hosts(rig, 1))
        leases = await take(rig)
        assert [one.state for one in heard] == ["running"] and heard[0].leases == leases
        assert not rig.lane.is_idle
        await rig.lane.give_back(leases)
        assert rig.lane.is_idle


async def test_all_that_was_known_to_be_queued_is_not_sent_again(redis):
    async with rigged(redis) as rig:
        rig.answer("/a", "<a href=/b>")
        await rig.queue(rig.url("/a"))
        [ended] = await work(rig.lane, await take(rig))
        await rig.lane.finish([ended])
        again = await rig.visit(rig.url("/a"))
        assert again.arrivals == [] and again.counts["duplicates"] == 1


async def test_more_links_than_one_call_may_have_are_all_queued(redis):
    many = MOST_ARRIVALS + 1
    async with rigged(redis) as rig:
        rig.answer("/a", "".join(f"<a href=/{n}>" for n in range(many)))
        await rig.queue(rig.url("/a"))
        ended = await work(rig.lane, await take(rig))
        assert len(ended[0].arrivals) == many
        await rig.lane.finish(ended)
        counts = await rig.frontier.counts()
        assert (counts.queued, counts.done, counts.duplicates) == (many, 1, 0)


async def test_a_large_batch_goes_in_parts_that_are_marked_one_by_one(redis, tmp_path):
    out = tmp_path / "a.jsonl"
    async with rigged(redis, out=(str(out),)) as rig:
        await rig.queue(*hosts(rig, 3))
        leases = await take(rig)
        size = 9_000_000
        pages = [make_page(one.item.url, b"x" * size) for one in leases]
        await rig.lane.finish([ended_of(*pair) for pair in zip(leases, pages, strict=True)])
        assert sum(written(out).values()) == 3
        assert rig.frontier._batch == 3


# -- the window -----------------------------------------------------------------------------------


async def test_who_waits_for_his_turn_takes_no_place_up_to_four_windows(redis):
    async with rigged(redis, concurrency=2, delay=0.0) as rig:
        await rig.queue(*hosts(rig, 20))
        assert rig.lane.window == 2
        rig.means.waiting = 6
        assert rig.lane.window == 8
        assert len(await take(rig, 8)) == 2
        rig.means.waiting = 8
        assert await take(rig, 8) == []
        rig.means.waiting = 0
        assert len(await take(rig, 1)) == 1


async def test_nothing_is_taken_while_bodies_fill_the_memory(redis):
    async with rigged(redis) as rig:
        await rig.queue(*hosts(rig, 1))
        budget = rig.means.fetcher.budget
        held = budget.limit
        budget.held += held
        assert budget.is_tight
        assert await take(rig) == []
        budget.held -= held
        assert len(await take(rig)) == 1


async def test_sources_that_others_have_read_are_known_in_scope_prefix(redis):
    async with rigged(redis, scope="prefix") as rig:
        rig.answer("/d/a", "<a href=/d/b><a href=/e>")
        await rig.queue(rig.url("/d/a"))
        await rig.frontier.add_scopes([f"127.0.0.1:{rig.site.port}/d/"])
        [ended] = await work(rig.lane, await take(rig))
        assert [one.item.url for one in ended.arrivals] == [rig.url("/d/b")]


# -- Redis is away --------------------------------------------------------------------------------


async def test_a_take_whose_answer_was_lost_is_given_back(one_redis, redis, tmp_path):
    async with relayed(one_redis, tmp_path) as (relay, client), rigged(client) as rig:
        await rig.queue(*hosts(rig, 3))
        [first] = await take(rig, 1)
        relay.lose = 1
        with pytest.raises(RedisAway):
            await take(rig)
        assert (await rig.frontier.counts()).running == 3
        taken = await take(rig)
        assert len({one.item.url for one in (first, *taken)}) == 3
        assert (await rig.frontier.counts()).running == 3


@pytest.mark.parametrize("is_applied", [False, True])
async def test_what_was_written_while_redis_was_away_is_there_once(
    one_redis, redis, tmp_path, is_applied
):
    out = tmp_path / "a.jsonl"
    async with (
        relayed(one_redis, tmp_path) as (relay, client),
        rigged(client, out=(str(out),)) as rig,
    ):
        await rig.queue(*hosts(rig, 4))
        ended = await work(rig.lane, await take(rig))
        await rig.lane.finish(ended[:1])
        relay.lose, relay.refuse = int(is_applied), not is_applied
        with pytest.raises(RedisAway):
            await rig.lane.finish(ended[1:3])
        assert out.stat().st_size > 0
        relay.refuse = False
        await rig.lane.finish(ended[1:])
        assert set(written(out).values()) == {1} and len(written(out)) == 4
        assert await mark_of(rig, out) == out.stat().st_size
        assert await rig.frontier.counts() == Counts(done=4, bytes=4 * len("<p>hello"))
        assert rig.lane.is_idle


@pytest.mark.parametrize("is_applied", [False, True])
async def test_what_is_given_back_meanwhile_does_not_pass_for_what_was_written(
    one_redis, redis, tmp_path, is_applied
):
    """Both calls are repeated when Redis is there again: neither may count as the other."""
    out = tmp_path / "a.jsonl"
    async with (
        relayed(one_redis, tmp_path) as (relay, client),
        rigged(client, out=(str(out),)) as rig,
    ):
        await rig.queue(*hosts(rig, 5))
        ended = await work(rig.lane, await take(rig, 3))
        await rig.lane.finish([ended.pop()])
        relay.lose = 1
        with pytest.raises(RedisAway):
            await rig.lane.take(1)  # taken, and nobody knows
        await rig.frontier.now()  # on another connection
        relay.lose, relay.refuse = int(is_applied), not is_applied
        with pytest.raises(RedisAway):
            await rig.lane.finish(ended)  # written, and marked or not
        relay.refuse = False
        taken = await rig.lane.take(9)
        await rig.lane.finish(ended)
        assert await mark_of(rig, out) == out.stat().st_size
        await rig.lane.finish(await work(rig.lane, list(taken)))
        assert set(written(out).values()) == {1} and len(written(out)) == 5
        counts = await rig.frontier.counts()
        assert (counts.done, counts.queued, counts.running) == (5, 0, 0)


async def test_a_whole_crawl_goes_on_through_answers_that_are_lost(one_redis, redis, tmp_path):
    out = tmp_path / "a.jsonl"
    async with (
        relayed(one_redis, tmp_path) as (relay, client),
        rigged(client, out=(str(out),), scope="any") as rig,
    ):
        for number in range(40):
            links = [rig.url(f"/{n}", f"h{n}.localhost") for n in (2 * number + 1, 2 * number + 2)]
            rig.answer(f"/{number}", "".join(f"<a href={one}>" for one in links if number < 20))

        async def slowly(call: Call) -> None:
            relay.lose = 1
            await call.send("x", kind="text/html")

        for number in (3, 9, 17):
            rig.serve(f"/{number}x", slowly)
            await rig.queue(rig.url(f"/{number}x", f"x{number}.localhost"))
        await rig.queue(rig.url("/0", "h0.localhost"))
        async with looping(rig):

            async def is_over() -> bool:
                try:
                    counts = await rig.frontier.counts()
                except RedisAway:
                    return False
                return not (counts.queued or counts.running)

            await wait_until(is_over, 20)
        lines = written(out)
        assert set(lines.values()) == {1}
        assert len(lines) == 44
        assert await mark_of(rig, out) == out.stat().st_size
        assert (await rig.frontier.counts()).done == 44


# -- others take us for dead, or Redis has lost something ----------------------------------------


async def test_pages_whose_leases_are_lost_are_dropped_and_the_others_stay(redis, tmp_path, caplog):
    out = tmp_path / "a.jsonl"
    async with rigged(redis, out=(str(out),)) as rig:
        await rig.queue(*hosts(rig, 2))
        ended = await work(rig.lane, await take(rig))
        lost = ended[0].outcome.lease
        await redis.hdel(rig.frontier.key(f"leases:{rig.frontier.worker}"), lost.id)
        await rig.lane.finish(ended)
        assert written(out) == {ended[1].outcome.lease.item.url: 1}
        assert await mark_of(rig, out) == out.stat().st_size
        assert rig.lane.is_idle
    assert "1 pages are others' by now" in caplog.text


async def test_a_process_that_was_taken_for_dead_writes_nothing_twice(redis, tmp_path):
    out = tmp_path / "a.jsonl"
    async with (
        rigged(redis, out=(str(out),)) as rig,
        rigged(redis, worker="w2", site=rig.site, out=(str(out),)) as other,
    ):
        await rig.queue(*hosts(rig, 3))
        ended = await work(rig.lane, await take(rig))
        assert await other.frontier.recover("w1") == ("w1", 3)
        again = await work(other.lane, await take(other))
        await asyncio.gather(rig.lane.finish(ended), other.lane.finish(again))
        lines = written(out, tmp_path / "a.2.jsonl")
        assert set(lines.values()) == {1} and len(lines) == 3
        assert (await rig.frontier.counts()).done == 3


async def test_when_redis_has_lost_its_last_second_the_files_go_back_with_it(
    redis, tmp_path, caplog
):
    out = tmp_path / "a.jsonl"
    async with rigged(redis, out=(str(out),)) as rig:
        await rig.queue(*hosts(rig, 3))
        ended = await work(rig.lane, await take(rig))
        await rig.lane.finish(ended[:1])
        names = [name async for name in redis.scan_iter("*crawl*")]
        kept = {name: await redis.dump(name) for name in names}
        await rig.lane.finish(ended[1:2])
        await redis.flushdb()  # and what was there a second ago is loaded
        for name, value in kept.items():
            await redis.restore(name, 0, value)
        await rig.lane.finish(ended[2:])
        assert written(out) == {one.outcome.lease.item.url: 1 for one in (ended[0], ended[2])}
        assert await mark_of(rig, out) == out.stat().st_size
        counts = await rig.frontier.counts()
        assert (counts.done, counts.running) == (2, 1)
        assert await rig.frontier.recover("w1") == ("w1", 1)  # and it is fetched again
        [lease] = await take(rig)
        assert lease.item.url == ended[1].outcome.lease.item.url
    assert "has lost its last second" in caplog.text


# -- the disk is full -----------------------------------------------------------------------------


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_what_cannot_be_written_now_is_written_later(redis, tmp_path, caplog):
    out = tmp_path / "a.jsonl"
    async with rigged(redis, out=(str(out),)) as rig:
        await rig.queue(*hosts(rig, 4))
        leases = await take(rig)
        # Of two parts of a batch the second does not fit.
        small, large = leases[:2], leases[2:]
        ended = [ended_of(one) for one in small]
        ended += [ended_of(one, make_page(one.item.url, b"x" * 17_000_000)) for one in large]
        text = {one.item.url: "y" * 40_000 for one in large}
        for one in ended[2:]:
            assert one.page is not None
            one.page.title = text[one.outcome.lease.item.url]
        with files_of_at_most(30_000), pytest.raises(OutputError, match=r"a\.jsonl"):
            await rig.lane.finish(ended)
        assert await mark_of(rig, out) == out.stat().st_size
        assert 0 < sum(written(out).values()) < 4
        await rig.lane.finish(ended)
        assert set(written(out).values()) == {1} and len(written(out)) == 4
        assert (await rig.frontier.counts()).done == 4
    assert "others'" not in caplog.text


# -- the end --------------------------------------------------------------------------------------


async def test_what_is_given_back_is_queued_as_it_was_and_its_visits_end(redis):
    async def never(call: Call) -> None:
        await call.raw().read_until_close()

    async with rigged(redis, timeout=30.0) as rig:
        rig.serve("/never", never)
        await rig.queue(rig.url("/never"), attempt=1)
        [lease] = await take(rig)
        ended: list[Ended] = []
        rig.lane.start(lease, ended.append)
        await wait_until(lambda: rig.asked("/never"))
        await rig.lane.give_back([lease])
        assert rig.lane.is_idle and ended == []
        await wait_until(lambda: rig.means.fetcher.in_flight == 0)
        counts = await rig.frontier.counts()
        assert (counts.queued, counts.running, counts.retried) == (1, 0, 0)
        await redis.zadd(rig.frontier.key("hosts"), {"127.0.0.1": 0})
        [again] = await take(rig)
        assert again.item == Item(url=rig.url("/never"), attempt=1)
        assert again.recovered == 0
