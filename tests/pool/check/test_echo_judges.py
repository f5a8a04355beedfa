import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Sequence

import pytest

from fetcher.client.curl import CurlClient
from fetcher.errors import RedisAway
from fetcher.model import Limits
from pool.check.echo_judges import FAILURES, FRESH, LOOK_EVERY, EchoJudge, EchoJudges
from pool.check.proof import Question
from tests.pool.judge_server import OURS, Clock, JudgeServer, azenv, httpbin, judging, liar
from tests.wait import wait_until

pytestmark = pytest.mark.timeout(30)

LIMITS = Limits(total=2.0, connect=1.0, fresh=True)


@contextlib.asynccontextmanager
async def bench(
    server: JudgeServer,
    urls: Sequence[str],
    clock: Clock,
    *,
    allow_private: bool = True,
    tunnel_page: str | None = None,
) -> AsyncIterator[EchoJudges]:
    client = CurlClient(force_instance=True)
    yield EchoJudges(
        urls,
        client,
        server.read_secret,
        LIMITS,
        user_agent="fetchpool-test",
        tunnel_page=tunnel_page,
        allow_private=allow_private,
        clock=clock,
    )
    client.close()


def taken(judges: EchoJudges, scheme: str = "http") -> tuple[EchoJudge, Question]:
    judge = judges.take(scheme)
    assert judge is not None
    return judge, judges.build_question(judge)[0]


async def test_a_look_shows_our_address_and_who_signs() -> None:
    async with judging() as server:
        urls = [f"{server.url}/judge", f"{server.url}/foreign", f"{server.url}/judge"]
        async with bench(server, urls, Clock()) as judges:
            assert (judges.take("http"), judges.own) == (None, {})
            await judges.look()
            ours, foreign = judges.judges
            assert judges.own == {4: OURS}
            assert ours.sight is not None and foreign.sight is not None
            assert (ours.sight.signs, foreign.sight.signs) == (True, False)
            assert foreign.sight.echoes


async def test_azenv_is_a_judge_too() -> None:
    async with judging() as server, bench(server, [f"{server.url}/foreign"], Clock()) as judges:
        server.foreign = azenv
        await judges.look()
        assert judges.own == {4: OURS}
        assert judges.take("http") is not None


async def test_an_own_address_that_no_site_could_see_is_unknown() -> None:
    async with (
        judging() as server,
        bench(server, [f"{server.url}/judge"], Clock(), allow_private=False) as judges,
    ):
        await judges.look()
        assert judges.own == {}
        assert judges.take("http") is not None


async def test_a_name_is_asked_over_both_ip_versions() -> None:
    """Here it has one of them; the other stays unknown, and nobody is the worse for it."""
    async with judging() as server:
        url = server.url.replace("127.0.0.1", "localhost") + "/judge"
        async with bench(server, [url], Clock()) as judges:
            await judges.look()
            assert judges.own == {4: OURS}
            assert judges.take("http") is not None


async def test_judges_take_turns_each_scheme_its_own() -> None:
    async with judging() as server:
        urls = [f"{server.url}/judge", f"{server.url}/foreign?x=1"]
        async with bench(server, urls, Clock()) as judges:
            await judges.look()
            order = [taken(judges)[0].url for _ in range(4)]
            assert set(order[:2]) == set(urls)
            assert order[:2] == order[2:]
            assert judges.take("https") is None


async def test_a_page_that_is_away_is_no_reason_to_worry(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    clock = Clock()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/"
    async with judging() as server, bench(server, [], clock, tunnel_page=url) as judges:
        await judges.look()
        assert judges.take("https") is None
    [said] = [record for record in caplog.records if record.name == "pool.check.echo_judges"]
    assert (said.levelname, url in said.message) == ("INFO", True)


async def test_a_question_is_new_each_time_and_joins_the_query() -> None:
    async with judging() as server, bench(server, [f"{server.url}/foreign?x=1"], Clock()) as judges:
        await judges.look()
        judge, first = taken(judges)
        second, request = judges.build_question(judge)
        assert first.nonce != second.nonce
        assert request.url == f"{server.url}/foreign?x=1&nonce={second.nonce}"
        assert (request.max_body, request.decode) == (16384, False)


async def test_a_good_judge_is_looked_at_every_ten_minutes() -> None:
    clock = Clock()
    async with judging() as server, bench(server, [f"{server.url}/judge"], clock) as judges:
        for step, looks in ((0.0, 1), (LOOK_EVERY - 0.1, 1), (0.1, 2), (30.0, 2)):
            clock.now += step
            await judges.look()
            assert server.count("/judge", direct=True) == looks


async def test_a_doubt_is_the_proxys_while_the_judge_answers_directly() -> None:
    clock = Clock()
    async with judging() as server, bench(server, [f"{server.url}/judge"], clock) as judges:
        await judges.look()
        judge, question = taken(judges)
        for number in range(2 * FAILURES):
            assert await judges.doubt(judge, question, f"proxy {number}")
        assert server.count("/judge", direct=True) == 1  # seen a moment ago
        clock.now += FRESH + 0.1
        doubts = [judges.doubt(judge, question, "proxy") for _ in range(20)]
        assert all(await asyncio.gather(*doubts))
        assert server.count("/judge", direct=True) == 2
        assert judges.take("http") is judge


@pytest.mark.parametrize("proxies", [FAILURES - 1, FAILURES])
async def test_a_judge_that_is_away_is_passed_over_after_failures_in_a_row(
    proxies: int, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    async with judging() as server, bench(server, [f"{server.url}/judge"], clock) as judges:
        await judges.look()
        judge, question = taken(judges)
        server.away = True
        clock.now += 60
        for number in range(proxies):
            assert not await judges.doubt(judge, question, f"proxy {number}")
        assert (judges.take("http") is None) == (proxies == FAILURES)
        assert caplog.text.count("passed over") == (proxies == FAILURES)
        for number in range(FAILURES):  # others that were under way
            await judges.doubt(judge, question, f"another {number}")
        assert caplog.text.count("passed over") == 1
        server.away = False
        clock.now += 60
        await judges.look()
        assert judges.take("http") is judge


async def test_failures_are_counted_by_proxy_and_only_in_a_row() -> None:
    clock = Clock()
    async with judging() as server, bench(server, [f"{server.url}/judge"], clock) as judges:
        await judges.look()
        judge, question = taken(judges)
        server.away = True
        clock.now += 60
        for _ in range(2 * FAILURES):
            await judges.doubt(judge, question, "one and the same")
        for number in range(FAILURES - 2):
            await judges.doubt(judge, question, f"proxy {number}")
        judges.heard(judge)
        for number in range(FAILURES - 1):
            await judges.doubt(judge, question, f"proxy {number}")
        assert judges.take("http") is judge


async def test_a_judge_that_signs_otherwise_than_before_blames_nobody() -> None:
    clock = Clock()
    async with judging() as server, bench(server, [f"{server.url}/foreign"], clock) as judges:
        await judges.look()
        judge, question = taken(judges)
        clock.now += 60
        server.foreign = liar
        assert not await judges.doubt(judge, question, "proxy")
        clock.now += 60
        server.foreign = httpbin
        assert await judges.doubt(judge, question, "proxy")


async def test_a_judge_that_never_answered_is_asked_through_no_proxy(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock()
    async with judging() as server, bench(server, [f"{server.url}/foreign"], clock) as judges:
        server.foreign = lambda _: None
        for _ in range(3):
            await judges.look()
            clock.now += 30
        assert judges.take("http") is None
        assert caplog.text.count("passed over") == 1
        server.foreign = httpbin
        await judges.look()
        assert judges.take("http") is not None


async def test_the_secret_is_read_anew_at_each_look() -> None:
    clock = Clock()
    async with judging() as server, bench(server, [f"{server.url}/judge"], clock) as judges:
        await judges.look()
        server.secret = b"after Redis was emptied"
        clock.now += LOOK_EVERY + 1
        await judges.look()
        assert taken(judges)[1].secret == server.secret
        assert taken(judges)[1].sight.signs


async def test_without_the_secret_a_look_is_tried_again() -> None:
    async def away() -> bytes:
        raise RedisAway("Redis failed")

    client = CurlClient(force_instance=True)
    judges = EchoJudges(["http://127.0.0.1:1/judge"], client, away, LIMITS, user_agent="x")
    with pytest.raises(RedisAway):
        await judges.look()
    client.close()


async def test_the_looks_run_by_themselves() -> None:
    async with judging() as server, bench(server, [f"{server.url}/judge"], Clock()) as judges:
        running = asyncio.create_task(judges.run())
        await wait_until(lambda: judges.take("http"))
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
