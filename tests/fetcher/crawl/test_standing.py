"""How a crawl stands, out of Redis."""

import pytest

from fetcher.crawl.frontier.frontier import Info
from fetcher.crawl.standing import read_state
from tests.fetcher.crawl.rig import Rig, rigged


async def info_of(rig: Rig) -> Info:
    info = await rig.frontier.load()
    assert info is not None
    return info


async def test_a_crawl_that_runs_says_who_works_and_what_there_is(redis):
    async with rigged(redis, limit=9) as rig:
        await rig.frontier.join()
        await rig.queue(rig.url("/a"), rig.url("/b"))
        state = await read_state(rig.frontier, await info_of(rig), rig.means.clock, 2.5)
    assert (state.name, state.phase, state.processes) == ("c", "running", 1)
    assert (state.counts.queued, state.rate, state.limit) == (2, 2.5, 9)
    assert state.started > 1.7e9 and state.ended == 0.0 and state.waiting == []


async def test_hosts_that_wait_are_named_with_their_time_and_the_reason(redis):
    async with rigged(redis, delay=60.0) as rig:
        now = await rig.frontier.now()
        names = ["blocked.localhost", "slow.localhost", "ready.localhost"]
        for name in names:
            await rig.queue(rig.url("/a", name), rig.url("/b", name))
        taken = await rig.frontier.take(9, delay=0.0)  # opens them
        assert len(taken.leases) >= 3
        await redis.delete(rig.frontier.key("hosts"))
        await redis.zadd(
            rig.frontier.key("hosts"),
            {
                "blocked.localhost": now * 1000,
                "slow.localhost": (now + 30) * 1000,
                "ready.localhost": (now + 4) * 1000,
            },
        )
        clock = rig.means.clock
        await clock.block("blocked.localhost", retry_after=90, started=now, draw=0.0)
        state = await read_state(rig.frontier, await info_of(rig), clock)
    assert [(one.host, one.reason) for one in state.waiting] == [
        ("slow.localhost", ""),
        ("blocked.localhost", "it answered 429 or 503"),
    ]
    assert state.waiting_hosts == 2
    assert 80 < state.waiting[1].until - now < 95


@pytest.mark.parametrize(
    ("state", "phase"),
    [
        ("running", "running"),
        ("paused", "paused"),
        ("finished", "finished"),
        ("limited", "limited"),
        ("stopped", "stopped"),
        ("strange", "failed"),
    ],
)
async def test_the_end_has_a_time_that_stays(redis, state, phase):
    async with rigged(redis) as rig:
        await rig.frontier.set_state(state, "why")
        found = await read_state(rig.frontier, await info_of(rig), rig.means.clock)
        assert (found.phase, found.reason) == (phase, "why")
        if state in ("finished", "limited", "stopped"):
            assert found.ended >= found.started
        await rig.frontier.set_state("running")
        again = await read_state(rig.frontier, await info_of(rig), rig.means.clock)
        assert again.ended == 0.0


async def test_of_many_hosts_that_wait_the_first_are_named(redis):
    async with rigged(redis) as rig:
        soon = (await rig.frontier.now() + 60) * 1000
        await redis.zadd(rig.frontier.key("hosts"), {f"h{n}": soon + n for n in range(30)})
        state = await read_state(rig.frontier, await info_of(rig), rig.means.clock)
    assert (len(state.waiting), state.waiting_hosts) == (20, 30)
    assert state.waiting[0].host == "h0"
