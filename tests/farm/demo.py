"""`make demo`: the whole service against a farm of proxies on loopback, without internet.

The farm and its site run in this process, the service as its users start it in a child; both end
with Ctrl-C. What the farm knows of its proxies is shown beside what the pool has found out.
"""

import asyncio
import contextlib
import itertools
import json
import signal
import socket
import sys
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final, NamedTuple, cast

import click
import yaml
from redis.asyncio import Redis

from fetcher.embedded import socket_path
from fetcher.fetcher import Fetcher
from fetcher.proxy import parse_proxy
from tests.farm.farm import LISTS, Farm
from tests.farm.kinds import Kind

ROOT: Final = Path(__file__).parents[2]
KEY: Final = "proxies:universal"
GOOD: Final = 100

# A tenth of a real list is as good as this; the rest is here to be looked at.
MIXTURE: Final = {
    **dict.fromkeys(Kind, 1),
    Kind.GOOD: 8,
    Kind.SLOW: 3,
    Kind.HANGING: 12,
    Kind.REFUSING: 12,
    Kind.SOCKS5: 2,
}
API, FORWARD = 5555, 5556
LOOK: Final = 1.0  # seconds between two looks at the pool
SHOW: Final = 5  # looks between two tables


class Row(NamedTuple):
    """One kind of proxies, as the farm has them and as the pool sees them."""

    kind: Kind
    there: int
    good: int  # at 100
    failed: int  # below 10
    gone: int


class Demo:
    """A farm, and the service on it."""

    def __init__(self, farm: Farm, folder: Path) -> None:
        self.farm = farm
        self.folder = folder
        self.port = _free_port(API)
        self.api = f"http://127.0.0.1:{self.port}"

    def write_settings(self) -> Path:
        file = self.folder / "demo.yaml"
        origin = self.farm.origin.url
        settings = {
            "redis": {"data_dir": str(self.folder / "data")},
            "log": {"level": "warning"},
            "fetcher": {"drain": 2},
            "pool": {
                "allow_private": True,
                "sites": {"universal": {"url": [f"{origin}/home"], "body": "fetchpool farm</h1>"}},
                "check": {"cycle": 4, "timeout": 2, "connect_timeout": 1, "backoff_max": 20},
                "harvest": {"cycle": 20},
                "sources": [
                    {"name": path.rpartition(".")[2], "url": f"{origin}{path}"} for path in LISTS
                ],
            },
            "api": {"port": self.port, "allow_private": True},
            "forward": {"port": _free_port(FORWARD)},
        }
        file.write_text(yaml.safe_dump(settings))
        return file

    async def compare(self) -> list[Row]:
        """The farm's truth beside the pool's scores."""
        path = socket_path((self.folder / "data").resolve())
        async with Redis(unix_socket_path=str(path)) as redis:
            scores: dict[str, float] = {}
            for key in (KEY, f"{KEY}:socks"):
                found = cast(
                    "list[tuple[bytes, float]]", await redis.zrange(key, 0, -1, withscores=True)
                )
                scores.update((parse_proxy(name.decode()).member, score) for name, score in found)
        kinds: dict[Kind, list[float | None]] = defaultdict(list)
        for proxy in self.farm.proxies:
            member = parse_proxy(proxy.url(credentials=False)).member
            kinds[proxy.kind].append(scores.get(member))
        return [
            Row(
                kind,
                len(seen),
                sum(score == GOOD for score in seen),
                sum(score is not None and score < 10 for score in seen),
                seen.count(None),
            )
            for kind, seen in kinds.items()
        ]


def explain(demo: Demo) -> Iterator[str]:
    kinds = len({proxy.kind for proxy in demo.farm.proxies})
    yield f"{len(demo.farm.proxies)} proxies of {kinds} kinds and a site, all of them on loopback:"
    yield f"  the site      {demo.farm.origin.url}/"
    yield f"  proxy lists   {' '.join(demo.farm.origin.url + path for path in LISTS)}"
    yield "and the whole service, which knows nothing but those lists. While it finds out, try:"
    yield f"  curl {demo.api}/random"
    yield f"  curl {demo.api}/count"
    yield f"  curl -i '{demo.api}/fetch?url={demo.farm.origin.url}/ip'"
    yield "Ctrl-C ends both."


def render(rows: list[Row]) -> Iterator[str]:
    yield ""
    yield f"{'what it is':18}{'proxies':>8}{'at 100':>8}{'failed':>8}{'not there':>11}"
    for row in sorted(rows, key=lambda row: (-row.good, row.kind)):
        yield f"{row.kind:18}{row.there:>8}{row.good:>8}{row.failed:>8}{row.gone:>11}"
    yield "At 100: passed the check of the site's home page, whatever else is wrong with it."


async def show_session(demo: Demo) -> None:
    """What a user sees, once there is something to see."""
    async with Fetcher.from_settings(timeout=10, proxy="direct") as fetcher:
        target = f"{demo.farm.origin.url}/ip"
        for url in (f"{demo.api}/random", f"{demo.api}/count", f"{demo.api}/fetch?url={target}"):
            result = await fetcher.fetch(url)
            click.echo(f"\n$ curl '{url}'\n{result.content.decode(errors='replace').rstrip()}")
            if "X-Fetch-Proxy" in result.headers:
                attempts = result.headers["X-Fetch-Attempts"]
                click.echo(f"(by {result.headers['X-Fetch-Proxy']}, attempts: {attempts})")


@contextlib.asynccontextmanager
async def service(settings: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """`main.py` on these settings; out of reach of the terminal's Ctrl-C, which is for us."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "main.py", "-c", str(settings),
        cwd=ROOT, stdin=asyncio.subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def watch(demo: Demo, seconds: float) -> None:
    """A table when something has changed, and a session once some are good."""
    shown: list[Row] = []
    has_shown_session = False
    for look in itertools.count():
        await asyncio.sleep(LOOK)
        with contextlib.suppress(OSError):  # its Redis has not started yet
            rows = await demo.compare()
            if look % SHOW == SHOW - 1 and rows != shown:
                click.echo("\n".join(render(rows)))
                shown = rows
            if not has_shown_session and sum(row.good for row in rows) >= 5:
                await show_session(demo)
                has_shown_session = True
        if seconds and look * LOOK >= seconds:
            click.echo(json.dumps({row.kind: row.good for row in await demo.compare()}))
            return


async def run(seconds: float) -> int:
    """Until Ctrl-C, or for some seconds; the exit code."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with tempfile.TemporaryDirectory(prefix="fetchpool-demo-") as name:
        async with Farm(MIXTURE, delay=0.5) as farm:
            demo = Demo(farm, Path(name))
            click.echo("\n".join(explain(demo)))
            async with service(demo.write_settings()) as process:
                ends = [
                    asyncio.create_task(one)
                    for one in (watch(demo, seconds), stop.wait(), process.wait())
                ]
                done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                for one in ends:
                    one.cancel()
                if ends[2] in done:
                    click.echo(f"the service has ended with {process.returncode}", err=True)
                    return 1
                for one in done:
                    one.result()
    return 0


def _free_port(wanted: int) -> int:
    """The usual port if it is free, else any."""
    for port in (wanted, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise OSError("no port is free")


@click.command()
@click.option("--seconds", default=0.0, help="End after so long, with a line of JSON; 0 = Ctrl-C.")
def main(seconds: float) -> None:
    """The whole service against a farm of loopback proxies."""
    sys.exit(asyncio.run(run(seconds)))


if __name__ == "__main__":
    main()
