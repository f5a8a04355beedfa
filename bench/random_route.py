"""`/random` with a small pool and a large one, beside a bare Tornado handler."""

import asyncio
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import yaml

from bench import load
from bench.check_farm import address_of
from bench.fetch_through import put
from bench.measure import MEASURED, Claim, Row, interleave
from bench.servers import Server, free_port, redis, running
from fetchpool.redis.connect import connect
from tests.redis_server import poll

KEY: Final = "proxies:universal"
SIZES: Final = (100, 50_000)
REQUESTS: Final = 20_000
BARE: Final = "bare handler"


def run(*, quick: bool = False) -> Row:
    count = REQUESTS // (20 if quick else 1)
    sizes = (SIZES[0], SIZES[1] // 10) if quick else SIZES
    with ExitStack() as stack:
        servers = {f"{size} proxies": stack.enter_context(pool_of(size)) for size in sizes}
        port = free_port()
        bare = [sys.executable, "-m", "bench.bare_tornado", str(port), "16"]
        servers[BARE] = stack.enter_context(running(bare, f"127.0.0.1:{port}", core=MEASURED))
        targets = {name: "/" if name == BARE else "/random" for name in servers}
        for name, server in servers.items():
            load.put(server.port, targets[name], 500)
        runs = {
            name: partial(put, server, targets[name], count) for name, server in servers.items()
        }
        peers = interleave(runs, 1 if quick else 3)
    return Row(
        title="/random against a bare Tornado handler, per CPU second",
        claims=[
            Claim(what=f"at {name}", measured=peers[BARE].cpu / peers[name].cpu, limit=0.8,
                  at_least=True)
            for name in peers
            if name != BARE
        ],
        peers=list(peers.values()),
        notes=["ProxyPool at 10,000 proxies: 0.03"],
    )  # fmt: skip


@contextmanager
def pool_of(size: int) -> Iterator[Server]:
    """The API over a pool of so many good proxies."""
    with redis() as url, tempfile.TemporaryDirectory(prefix="bench-") as name:
        asyncio.run(fill(url, size))
        port, settings = free_port(), Path(name, "bench.yaml")
        settings.write_text(
            yaml.safe_dump(
                {"redis": {"url": url}, "api": {"port": port}, "forward": {"enabled": False}}
            )
        )
        words = [sys.executable, "main.py", "-c", str(settings), "--log-level", "error", "api"]
        with running(words, f"127.0.0.1:{port}", core=MEASURED) as server:
            poll(lambda: load.get(port, "/count") == str(size).encode(), "the pool to be read", 30)
            yield server


async def fill(url: str, size: int) -> None:
    """As ProxyPool would have left them: each at 100."""
    client = connect(url)
    members = [f"{address_of(number)}:8080" for number in range(size)]
    for start in range(0, size, 1000):
        await client.zadd(KEY, dict.fromkeys(members[start : start + 1000], 100))
    await client.aclose()
