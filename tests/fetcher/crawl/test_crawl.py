"""One process's part in a crawl: how it begins, changes, takes over from others, and ends."""

import asyncio
import subprocess
import sys
from contextlib import asynccontextmanager

import pytest

from fetcher.crawl import crawl as module
from fetcher.crawl.crawl import Crawl
from fetcher.crawl.frontier.frontier import Frontier, Taken
from fetcher.crawl.machine import worker_name
from fetcher.crawl.model import Options
from fetcher.crawl.seeding import Seeding
from fetchpool.farm import Call
from tests.fetcher.crawl.rig import Rig, rigged
from tests.redis_relay import relayed
from tests.wait import wait_until

pytestmark = pytest.mark.usefixtures("nothing_breaks_on_the_loop")


@asynccontextmanager
async def running(crawl: Crawl, drain: float = 5.0):
    """It runs inside, and is stopped by hand behind it unless it has ended."""
    stop = asyncio.Event()
    task = asyncio.ensure_future(crawl.run(stop, drain))
    try:
        yield task
    finally:
        stop.set()
        await task


def site_of(rig: Rig, pages: int) -> None:
    """Pages in a chain of links: /0 names /1, and so on; each on a host of its own."""
    for number in range(pages):
        there = rig.url(f"/{number + 1}", f"h{number + 1}.localhost")
        rig.answer(f"/{number}", f"<a href={there}>" if number + 1 < pages else "the last")


def start_of(rig: Rig) -> str:
    return rig.url("/0", "h0.localhost")


async def state_of(rig: Rig) -> str:
    info = await rig.frontier.load()
    return info.state if info is not None else "gone"


async def never(call: Call) -> None:
    await call.raw().read_until_close()


# -- the end --------------------------------------------------------------------------------------


async def test_it_ends_when_all_that_was_found_is_done_and_says_goodbye(redis):
    async with rigged(redis, scope="any") as rig:
        site_of(rig, 5)
        await rig.queue(start_of(rig))
        crawl = await rig.crawl()
        assert await crawl.run(asyncio.Event(), 5.0) == "finished"
        assert (await rig.frontier.counts()).done == 5
        assert await rig.frontier.workers() == []
        assert await state_of(rig) == "finished"


async def test_it_reads_its_sources(redis, tmp_path):
    async with rigged(redis, sources=(str(tmp_path / "list.txt"), "http://127.0.0.1:1/x")) as rig:
        rig.answer("/a", "a")
        (tmp_path / "list.txt").write_text(rig.url("/a"))
        crawl = await rig.crawl()
        async with running(crawl) as task:
            await wait_until(lambda: rig.asked() == ["/a"])
            assert not task.done()
        assert crawl.problems == []


async def test_sources_that_cannot_be_read_are_named_and_the_others_are_fetched(redis, tmp_path):
    async with rigged(redis, sources=()) as rig:
        rig.answer("/a", "a")
        missing = str(tmp_path / "missing.txt")
        options = Options(sources=(missing, rig.url("/a")), robots=False, delay=0.0, concurrency=3)
        await redis.hdel(rig.frontier.key("meta"), "seeded")
        await rig.frontier.change(options)
        rig.means.change(options)
        crawl = await rig.crawl()
        assert await crawl.run(asyncio.Event(), 5.0) == "finished"
        assert (await rig.frontier.counts()).done == 1
        [problem] = crawl.problems
        assert problem.startswith(f"{missing} cannot be read: No such file")


async def test_it_ends_at_a_limit_of_pages(redis):
    async with rigged(redis, scope="any", limit=3) as rig:
        site_of(rig, 9)
        await rig.queue(start_of(rig))
        assert await (await rig.crawl()).run(asyncio.Event(), 5.0) == "limited"
        assert (await rig.frontier.counts()).done == 3


async def test_it_takes_so_many_pages_of_a_host(redis):
    async with rigged(redis, limit_host=2, delay=0.0) as rig:
        rig.answer("/a", "".join(f"<a href=/{n}>" for n in range(9)))
        await rig.queue(rig.url("/a"))
        assert await (await rig.crawl()).run(asyncio.Event(), 5.0) == "finished"
        counts = await rig.frontier.counts()
        assert (counts.done, counts.skipped) == (2, 8)
        assert (await rig.frontier.tally())[b"skip:limit_host"] == b"8"


@pytest.mark.parametrize(
    ("limit", "reason"),
    [({"time_limit": 0.5}, "--time-limit 0.5"), ({"size_limit": 5}, "--size-limit 5")],
)
async def test_it_ends_at_limits_of_time_and_size(redis, limit, reason):
    async with rigged(redis, **limit) as rig:
        rig.answer("/a", "12345")
        await rig.queue(rig.url("/a"))
        await rig.queue(rig.url("/b", "h1.localhost"))
        await rig.means.clock.block("h1.localhost", retry_after=99, started=0.0, draw=0.0)
        crawl = await rig.crawl()
        assert await asyncio.wait_for(crawl.run(asyncio.Event(), 5.0), 5) == "limited"
        info = await rig.frontier.load()
        assert info is not None and info.reason == reason
        assert info.ended >= info.created > 0


async def test_below_a_limit_of_size_it_goes_on(redis):
    async with rigged(redis, size_limit=6) as rig:
        rig.answer("/a", "12345")
        await rig.queue(rig.url("/a"))
        assert await (await rig.crawl()).run(asyncio.Event(), 5.0) == "finished"


@pytest.mark.parametrize("state", ["stopped", "limited", "finished"])
async def test_it_ends_when_others_have_ended_it_and_finishes_what_is_under_way(redis, state):
    async with rigged(redis) as rig:
        come = asyncio.Event()

        async def late(call: Call) -> None:
            await come.wait()
            await call.send("late", kind="text/html")

        rig.serve("/a", late)
        await rig.queue(rig.url("/a"))
        crawl = await rig.crawl()
        async with running(crawl) as task:
            await wait_until(lambda: rig.asked("/a"))
            await rig.frontier.set_state(state)
            await wait_until(lambda: crawl.state == state)
            come.set()
            assert await task == state
        assert (await rig.frontier.counts()).done == 1


async def test_it_ends_when_the_crawl_is_removed(redis):
    async with rigged(redis) as rig:
        await rig.queue(rig.url("/a"))
        await rig.means.clock.block("127.0.0.1", retry_after=99, started=0.0, draw=0.0)
        async with running(await rig.crawl()) as task:
            await rig.frontier.remove()
            assert await asyncio.wait_for(asyncio.shield(task), 5) == "gone"


async def test_stopped_by_hand_it_gives_back_what_is_not_done_within_the_drain(redis):
    async with rigged(redis) as rig:
        rig.serve("/a", never)
        await rig.queue(rig.url("/a"))
        crawl = await rig.crawl()
        stop = asyncio.Event()
        task = asyncio.ensure_future(crawl.run(stop, 0.05))
        await wait_until(lambda: rig.asked("/a"))
        stop.set()
        assert await asyncio.wait_for(task, 5) == "running"  # so `--resume` goes on
        counts = await rig.frontier.counts()
        assert (counts.queued, counts.running) == (1, 0)
        assert await rig.frontier.workers() == []


async def test_a_duty_that_fails_ends_this_process_s_part_with_a_word(redis, caplog):
    async with rigged(redis, sources=("/no/source",)) as rig:
        await redis.hset(rig.frontier.key("meta"), "position", "nonsense")
        crawl = await rig.crawl()
        assert await asyncio.wait_for(crawl.run(asyncio.Event(), 5.0), 5) == "failed"
    assert "the crawl cannot go on here" in caplog.text


# -- changes --------------------------------------------------------------------------------------


async def test_a_pause_holds_all_and_loses_none(redis):
    async with rigged(redis, scope="any") as rig:
        site_of(rig, 3)
        async with running(await rig.crawl()) as task:
            await rig.frontier.set_state("paused")
            await rig.queue(start_of(rig))
            await redis.hset(rig.frontier.key("meta"), "seeded", 1)
            heard: list[Taken] = []
            was = rig.lane.heard

            def hear(taken: Taken) -> None:
                heard.append(taken)
                was(taken)

            rig.lane.heard = hear
            await wait_until(lambda: len(heard) > 2)
            assert rig.asked() == [] and heard[-1].state == "paused"
            await rig.frontier.set_state("running")
            assert await asyncio.wait_for(asyncio.shield(task), 5) == "finished"
        assert (await rig.frontier.counts()).done == 3


async def test_who_waits_for_his_turn_in_a_pause_is_fetched_behind_it(redis):
    async with rigged(redis) as rig:
        rig.answer("/a", "a")
        await rig.queue(rig.url("/a"))
        await rig.means.clock.block("127.0.0.1", retry_after=0.7, started=0.0, draw=0.0)
        async with running(await rig.crawl()) as task:
            await wait_until(lambda: rig.means.waiting)
            await rig.frontier.set_state("paused")
            await wait_until(lambda: rig.lane.is_idle)
            assert rig.asked() == []
            await rig.frontier.set_state("running")
            assert await asyncio.wait_for(asyncio.shield(task), 5) == "finished"
        counts = await rig.frontier.counts()
        assert (counts.done, counts.retried) == (1, 0)


async def test_what_is_set_while_it_runs_holds_from_then_on(redis):
    async with rigged(redis, scope="any", concurrency=2) as rig:
        go = asyncio.Event()

        async def first(call: Call) -> None:
            await go.wait()
            links = [rig.url("/out", "h1.localhost"), rig.url("/in", "h2.localhost")]
            await call.send("".join(f"<a href={one}>" for one in links), kind="text/html")

        rig.serve("/0", first)
        rig.answer("/in", "in")
        rig.answer("/out", "out")
        await rig.queue(start_of(rig), rig.url("/out", "queued.localhost"))
        await rig.means.clock.block("queued.localhost", retry_after=1.5, started=0.0, draw=0.0)
        async with running(await rig.crawl()) as task:
            await wait_until(lambda: rig.asked("/0"))
            changed = Options(
                sources=(),
                robots=False,
                delay=0.0,
                scope="any",
                exclude=("/out",),
                concurrency=7,
                limit_host=9,
                user_agent="new",
            )
            await rig.frontier.change(changed)
            await wait_until(lambda: rig.means.options.exclude)
            assert rig.frontier.limit_host == 9 and rig.lane.window >= 7
            go.set()
            assert await asyncio.wait_for(asyncio.shield(task), 8) == "finished"
        assert sorted(rig.asked()) == ["/0", "/in"]  # what was queued is looked at again
        assert rig.site.requests[-1].get("User-Agent") == "new"


async def test_a_change_that_redis_kept_for_itself_is_asked_for_again(
    one_redis, redis, tmp_path, caplog
):
    async with relayed(one_redis, tmp_path) as (relay, client), rigged(client) as rig:
        crawl = await rig.crawl()
        await rig.frontier.change(Options(sources=(), user_agent="new"))
        relay.refuse = True
        await client.connection_pool.disconnect()
        crawl.heard(Taken(state="running", revision=1))
        await wait_until(lambda: "read anew at the next take" in caplog.text)
        relay.refuse = False
        await wait_until(lambda: crawl._changing is not None and crawl._changing.done())
        crawl.heard(Taken(state="running", revision=1))
        await wait_until(lambda: rig.means.user_agent == "new")


async def test_it_goes_on_when_redis_was_away(one_redis, redis, tmp_path):
    async with relayed(one_redis, tmp_path) as (relay, client), rigged(client, scope="any") as rig:
        site_of(rig, 6)

        async def cut(call: Call) -> None:
            relay.refuse = True
            asyncio.get_running_loop().call_later(0.4, setattr, relay, "refuse", False)
            await call.send(f"<a href={rig.url('/3', 'h3.localhost')}>", kind="text/html")

        rig.serve("/2", cut)
        await rig.queue(start_of(rig))
        assert await asyncio.wait_for((await rig.crawl()).run(asyncio.Event(), 5.0), 15) == (
            "finished"
        )
        assert len(rig.asked()) == 6


# -- who has died ---------------------------------------------------------------------------------


def dead_process() -> str:
    """The name of a worker of this machine whose process has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    host, where, _, token = worker_name().split(":")
    return f"{host}:{where}:{process.pid}:{token}"


async def abandoned(rig: Rig, worker: str) -> None:
    """A process that took all there was, and was not heard of again."""
    other = Frontier(rig.redis, "test", "c", worker)
    await other.join()
    assert (await other.take(9, delay=0.0)).leases


async def test_what_a_dead_process_of_this_machine_had_is_fetched_at_once(redis, caplog):
    async with rigged(redis) as rig:
        rig.answer("/a", "a")
        await rig.queue(rig.url("/a"))
        worker = dead_process()
        await abandoned(rig, worker)
        crawl = await rig.crawl()
        assert await asyncio.wait_for(crawl.run(asyncio.Event(), 5.0), 5) == "finished"
        assert rig.asked() == ["/a"]
    assert f"{worker} has died: its 1 URLs are queued again" in caplog.text


async def test_a_living_process_of_this_machine_keeps_what_it_has(redis):
    async with rigged(redis) as rig:
        rig.answer("/a", "a")
        await rig.queue(rig.url("/a"))
        await abandoned(rig, worker_name())
        async with running(await rig.crawl()):
            await wait_until(lambda: len(rig.lane._held) == 0)
            await rig.frontier.renew()
            assert (await rig.frontier.counts()).running == 1


async def test_what_a_process_elsewhere_had_comes_back_when_its_lease_is_over(redis, monkeypatch):
    monkeypatch.setattr(module, "_BEAT", 0.05)
    async with rigged(redis) as rig:
        rig.answer("/a", "a")
        await rig.queue(rig.url("/a"))
        await abandoned(rig, "elsewhere:x:1:y")
        async with running(await rig.crawl()) as task:
            await wait_until(lambda: rig.lane.is_idle)
            assert rig.asked() == []
            await redis.zadd(rig.frontier.key("workers"), {"elsewhere:x:1:y": 1})
            assert await asyncio.wait_for(asyncio.shield(task), 5) == "finished"
        assert rig.asked() == ["/a"]


async def test_two_processes_share_a_crawl_and_both_end_with_it(redis, tmp_path):
    out = (str(tmp_path / "a.jsonl"),)
    async with (
        rigged(redis, scope="any", out=out, concurrency=2) as rig,
        rigged(redis, worker="w2", site=rig.site, scope="any", out=out, concurrency=2) as other,
    ):
        site_of(rig, 2)
        for n in range(30):
            rig.answer(f"/p{n}", f"{n}")
        await rig.queue(start_of(rig), *(rig.url(f"/p{n}", f"p{n}.localhost") for n in range(30)))
        ended = [(await one.crawl()).run(asyncio.Event(), 5.0) for one in (rig, other)]
        assert await asyncio.wait_for(asyncio.gather(*ended), 10) == ["finished"] * 2
        lines = [path.read_bytes().count(b"\n") for path in tmp_path.glob("*.jsonl")]
        assert sum(lines) == 32


async def test_standard_input_is_read_by_whom_it_belongs_to(redis):
    async with rigged(redis, sources=("-",)) as rig:
        seeding = Seeding(rig.frontier, rig.options, has_input=False)
        await asyncio.wait_for(seeding.run(lambda: None), 5)
        info = await rig.frontier.load()
        assert info is not None and not info.seeded
        assert await redis.exists(rig.frontier.key("seeder")) == 0
