"""What is put together is asked to work: who goes out through which client, and who settles."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import pytest
from redis.asyncio import Redis

from fetcher.client.curl import CurlClient
from fetcher.guard import is_public
from fetcher.model import Trust
from fetcher.proxy import parse_proxy
from fetchpool.farm import Origin
from pool.check.build import Clients, build_checks, build_echo_judges
from pool.model import Candidate, Checked, Kind, Record
from pool.settings import Check, Pool, Site
from pool.store import Store
from tests.pool.judge_server import judging, read_secret

pytestmark = pytest.mark.timeout(30)

TIMES = Check(cycle=20.0, timeout=1.0, connect_timeout=0.5)
NOWHERE = "http://127.0.0.1:1/"


@contextlib.contextmanager
def clients() -> Iterator[dict[Trust, CurlClient]]:
    """The guarded one reaches nothing here but proxies that may be private."""
    both = {
        Trust.OPEN: CurlClient(force_instance=True),
        Trust.GUARDED: CurlClient(force_instance=True, guard=is_public),
    }
    yield both
    for client in both.values():
        client.close()


def build(url: str, canary: str | bool | None) -> Pool:
    site = Site(url=[url], canary=canary)
    return Pool(check=TIMES, sites={"universal": site, "shop": site}, allow_private=True)


async def fail_once(redis: Redis, clients: Clients, pool: Pool) -> tuple[float | None, str | None]:
    """The score of a proxy whose check failed, and which page's outage there is."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy = parse_proxy(f"127.0.0.1:{listener.getsockname()[1]}")
    store = Store(redis, pool)
    await store.add([Candidate(proxy, Record())])
    lane = build_checks(store, clients, pool, "universal", user_agent="x")
    [check] = await lane.take(9)
    ended: asyncio.Future[Checked] = asyncio.get_running_loop().create_future()
    lane.start(check, ended.set_result)
    assert (await ended).kind is Kind.REFUSED
    await lane.finish([await ended])
    [score] = await store.http.scores([proxy.member])
    return score, (await store.http.changes(0)).outage


async def test_a_failure_counts_unless_the_canary_fails_too(redis: Redis) -> None:
    async with Origin() as origin:
        with clients() as both:
            pool = build(NOWHERE, None)
            assert await fail_once(redis, both, pool) == (10, NOWHERE)
            await redis.flushall()
            assert await fail_once(redis, both, build(NOWHERE, False)) == (9, None)
            await redis.flushall()
            # On loopback, where only the open client gets to.
            pool = build(NOWHERE, f"{origin.url}/html")
            assert await fail_once(redis, both, pool) == (9, None)


async def test_proxies_are_asked_through_the_guarded_client(redis: Redis) -> None:
    with clients() as both:
        pool = build(NOWHERE, False)
        store = Store(redis, pool)
        await store.add([Candidate(parse_proxy("127.0.0.1:1"), Record())])
        lane = build_checks(store, both, pool, "universal", user_agent="x")
        lane.start((await lane.take(1))[0], lambda _: None)
        assert (both[Trust.GUARDED].in_flight, both[Trust.OPEN].in_flight) == (1, 0)


@pytest.mark.parametrize(("site", "name"), [("universal", "checks"), ("shop", "checks of shop")])
async def test_a_lane_is_named_after_its_site(redis: Redis, site: str, name: str) -> None:
    pool = build(NOWHERE, False)
    with clients() as both:
        assert build_checks(Store(redis, pool), both, pool, site, user_agent="x").name == name


async def test_judges_are_asked_through_the_open_client() -> None:
    async with judging() as server:
        with clients() as both:
            judges = build_echo_judges(
                [f"{server.url}/judge"],
                None,
                both,
                build(NOWHERE, False),
                secret=read_secret,
                user_agent="x",
            )
            assert judges is not None
            await judges.look()
            assert judges.take("http") is not None


@pytest.mark.parametrize(
    ("urls", "tunnel_page", "count"),
    [([], None, None), ([], "https://site.test/", 1), ([NOWHERE], None, 1)],
)
async def test_there_are_judges_if_anybody_can_be_asked(
    urls: list[str], tunnel_page: str | None, count: int | None
) -> None:
    with clients() as both:
        judges = build_echo_judges(
            urls, tunnel_page, both, build(NOWHERE, False), secret=read_secret, user_agent="x"
        )
        assert (None if judges is None else len(judges.judges)) == count


@pytest.mark.parametrize(
    ("body", "said"),
    [("127", 1), ("a title", 0), (None, 0)],
)
async def test_a_rule_that_its_own_url_fulfils_is_said(
    redis: Redis, caplog: pytest.LogCaptureFixture, body: str | None, said: int
) -> None:
    site = Site(url=[NOWHERE], body=body)
    pool = Pool(check=TIMES, sites={"universal": site, "shop": site})
    with clients() as both:
        build_checks(Store(redis, pool), both, pool, "shop", user_agent="x")
    messages = [text for text in caplog.messages if text.startswith("pool.sites.shop.body: '127'")]
    assert len(messages) == len(caplog.messages) == said
