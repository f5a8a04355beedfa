"""A fetch from a host that is new, plain and over TLS, beside libcurl's own loop doing the same.

`python -m bench.new_hosts NAME PLACES` is the measured process: PLACES as `servers.Places` in JSON.
Each fetch has a connection of its own, and over TLS a whole handshake with a verified certificate.
"""

import asyncio
import sys
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

import msgspec
import pycurl
import uvloop

from bench.bare_loop import Transfer, perform_all, urls_of
from bench.measure import Claim, Row, Sample, Spent, interleave, run_module
from bench.peers import AT_ONCE, check
from bench.servers import Places, nginx_of

COUNTS: Final = {"plain": 4000, "TLS": 1000}
LIMITS: Final = {"plain": 1.5, "TLS": 1.2}
FIRST: Final = 200  # not measured: modules are loaded, certificates are read
OURS, BARE = "fetcher", "bare loop"


def run(*, quick: bool = False) -> Row:
    row = Row(
        title="A fetch from a new host: CPU per fetch",
        notes=[f"a connection each, {AT_ONCE} at once, 1 kB page; TLS: verified, no resumption"],
    )
    for name, count in COUNTS.items():
        with nginx_of(FIRST + count // (4 if quick else 1), tls=name == "TLS") as places:
            words = msgspec.json.encode(places).decode()
            runs = {
                f"{peer}, {name}": partial(run_module, "bench.new_hosts", peer, words)
                for peer in (OURS, BARE)
            }
            ours, bare = interleave(runs, 1 if quick else 5).values()
        row.peers += [ours, bare]
        row.claims.append(
            Claim(what=f"{name}: CPU of the bare loop", measured=ours.cpu / bare.cpu,
                  limit=LIMITS[name], unit=" times")
        )  # fmt: skip
    return row


def measure_ours(places: Places) -> Sample:
    from fetcher.model import Result, Task
    from fetcher.run.fetcher import Fetcher
    from fetcher.run.path import Fetching

    async def fetch_all(ours: Fetcher, urls: Iterable[str]) -> None:
        left, ended, running = iter(urls), asyncio.Event(), 0

        def start() -> None:
            nonlocal running
            for one in left:
                running += 1
                ours.run(Task(url=one), finish)
                return

        def finish(fetching: Fetching, result: Result) -> None:
            nonlocal running
            check(result.status_code, bool(result.headers), len(result.content))
            running -= 1
            start()
            if not running:
                ended.set()

        for _ in range(AT_ONCE):
            start()
        await ended.wait()

    async def measure() -> Sample:
        async with Fetcher.from_settings(ca_file=places.certificates or None) as ours:
            await fetch_all(ours, places.urls[:FIRST])
            spent = Spent()
            await fetch_all(ours, places.urls[FIRST:])
            return spent.sample(len(places.urls) - FIRST)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(measure())


def measure_bare(places: Places) -> Sample:
    def configure(curl: pycurl.Curl) -> None:
        # Else it walks through all that it knows after each fetch, and gets ever slower.
        curl.setopt(pycurl.DNS_CACHE_TIMEOUT, 0)
        if places.certificates:
            curl.setopt(pycurl.CAINFO, places.certificates)

    def ended(one: Transfer, code: int) -> None:
        assert not code, one.curl.errstr()
        status = one.curl.getinfo(pycurl.RESPONSE_CODE)
        check(status, bool(one.head.getvalue()), len(one.body.getvalue()))

    spent = Spent()

    def urls() -> Iterable[str]:
        nonlocal spent
        for number, one in enumerate(places.urls):
            if number == FIRST:
                spent = Spent()
            yield one

    perform_all(urls_of(iter(urls())), ended, AT_ONCE, configure)
    return spent.sample(len(places.urls) - FIRST)


MEASURES: Final[dict[str, Callable[[Places], Sample]]] = {OURS: measure_ours, BARE: measure_bare}

if __name__ == "__main__":
    places = msgspec.json.decode(sys.argv[2], type=Places)
    print(msgspec.json.encode(MEASURES[sys.argv[1]](places)).decode())
