"""The clients that are compared, each as it is used by those who want speed from it.

`python -m bench.peers NAME URL COUNT` fetches COUNT distinct pages of URL, 100 at once, and prints
a `Sample` as JSON. A page counts when its status, headers and whole body were there.
"""

import asyncio
import resource
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

import msgspec
import uvloop

from bench.measure import Sample

AT_ONCE: Final = 100
WARM_UP: Final = 500

Check = Callable[[int, bool, int], None]


def check(status: int, has_headers: bool, length: int) -> None:
    """Raises AssertionError for a page that is not what nginx serves."""
    assert (status, has_headers, length) == (200, True, 1000), (status, has_headers, length)


def urls(url: str, count: int) -> Iterator[str]:
    """All different, so that nobody's cache of parsed URLs wins."""
    return (f"{url}/page?n={number}" for number in range(count))


async def spread(fetch: Callable[[str], Awaitable[None]], url: str, count: int) -> None:
    """Keep `AT_ONCE` fetches under way by as many coroutines."""
    left = urls(url, count)

    async def work() -> None:
        for one in left:
            await fetch(one)

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))


# -- ours ---------------------------------------------------------------------------------------


async def fetcher(url: str, count: int) -> None:
    """`Fetcher.run`: task in, result out, as the queue uses it."""
    from fetcher.model import Result, Task
    from fetcher.run.fetcher import Fetcher
    from fetcher.run.path import Fetching

    left, ended = urls(url, count), asyncio.Event()
    done = 0

    def start() -> None:
        for one in left:
            ours.run(Task(url=one), finish)
            return

    def finish(fetching: Fetching, result: Result) -> None:
        nonlocal done
        check(result.status_code, bool(result.headers), len(result.content))
        done += 1
        if done == count:
            ended.set()
        start()

    async with Fetcher.from_settings() as ours:
        for _ in range(AT_ONCE):
            start()
        await ended.wait()


async def fetch_many(url: str, count: int) -> None:
    """`Fetcher.fetch_many`: what a Python program calls."""
    from fetcher.run.fetcher import Fetcher

    async with Fetcher.from_settings() as ours:
        async for _, result in ours.fetch_many(urls(url, count), concurrency=AT_ONCE):
            check(result.status_code, bool(result.headers), len(result.content))


async def curl_client(url: str, count: int) -> None:
    """`CurlClient.start` alone: a request in, a raw response out."""
    from fetcher.client.curl import CurlClient
    from fetcher.client.sinks import WholeBody
    from fetcher.model import DIRECT, Limits, Request, Response

    client = CurlClient(force_instance=True, max_connections=AT_ONCE)
    limits, headers = Limits(total=60.0, connect=10.0), (b"User-Agent: bench",)
    left, ended = urls(url, count), asyncio.Event()
    done = 0

    def start() -> None:
        for one in left:
            client.start(Request(url=one, headers=headers), DIRECT, limits, WholeBody(finish))
            return

    def finish(response: Response) -> None:
        nonlocal done
        check(response.status, bool(response.head), len(response.body))
        done += 1
        if done == count:
            ended.set()
        start()

    for _ in range(AT_ONCE):
        start()
    await ended.wait()
    client.close()


# -- others -------------------------------------------------------------------------------------


async def tornado_curl(url: str, count: int) -> None:
    from tornado.curl_httpclient import CurlAsyncHTTPClient

    client = CurlAsyncHTTPClient(force_instance=True, max_clients=AT_ONCE)

    async def fetch(one: str) -> None:
        response = await client.fetch(one)
        check(response.code, bool(response.headers), len(response.body))

    await spread(fetch, url, count)
    client.close()


async def tornado_simple(url: str, count: int) -> None:
    from tornado.simple_httpclient import SimpleAsyncHTTPClient

    client = SimpleAsyncHTTPClient(force_instance=True, max_clients=AT_ONCE)

    async def fetch(one: str) -> None:
        response = await client.fetch(one)
        check(response.code, bool(response.headers), len(response.body))

    await spread(fetch, url, count)
    client.close()


async def aiohttp(url: str, count: int) -> None:
    from aiohttp import ClientSession, TCPConnector

    async with ClientSession(connector=TCPConnector(limit=AT_ONCE)) as session:

        async def fetch(one: str) -> None:
            async with session.get(one) as response:
                body = await response.read()
                check(response.status, bool(response.headers), len(body))

        await spread(fetch, url, count)


async def httpx(url: str, count: int) -> None:
    from httpx import AsyncClient, Limits

    limits = Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE)
    async with AsyncClient(limits=limits, trust_env=False) as client:

        async def fetch(one: str) -> None:
            response = await client.get(one)
            check(response.status_code, bool(response.headers), len(response.content))

        await spread(fetch, url, count)


def bare_multi(url: str, count: int) -> None:
    """libcurl's own loop, `perform` and `select`, with handles that keep their options."""
    from pycurl import RESPONSE_CODE

    from bench.bare_loop import Transfer, perform_all, urls_of

    def ended(one: Transfer, code: int) -> None:
        assert not code, code
        status = one.curl.getinfo(RESPONSE_CODE)
        check(status, bool(one.head.getvalue()), len(one.body.getvalue()))

    perform_all(urls_of(urls(url, count)), ended, AT_ONCE)


def scrapy(url: str, count: int) -> None:
    """A spider on Scrapy's engine, all that it does not need switched off."""
    from bench.scrapy_spider import crawl

    crawl(urls(url, count), AT_ONCE, check)


# -- the program --------------------------------------------------------------------------------

PEERS: Final[dict[str, Callable[[str, int], Awaitable[None] | None]]] = {
    one.__name__: one
    for one in (
        fetcher, fetch_many, curl_client, tornado_curl, tornado_simple, aiohttp, httpx,
        bare_multi, scrapy,
    )
}  # fmt: skip
ONCE: Final = ("scrapy",)  # its reactor cannot be started twice: no warm-up


def cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def measure(name: str, url: str, count: int) -> Sample:
    peer = PEERS[name]

    def once(n: int) -> None:
        if (work := peer(url, n)) is not None:
            runner.run(work)  # type: ignore[arg-type]

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if name not in ONCE:
            once(WARM_UP)
        began, spent = time.perf_counter(), cpu()
        once(count)
        seconds, spent = time.perf_counter() - began, cpu() - spent
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Sample(done=count, seconds=seconds, cpu=spent, rss=peak)


if __name__ == "__main__":
    print(msgspec.json.encode(measure(sys.argv[1], sys.argv[2], int(sys.argv[3]))).decode())
