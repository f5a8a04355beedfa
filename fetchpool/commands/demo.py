"""The `demo` command: the whole service against a farm of proxies on loopback, without internet.

The farm and its site run in this process, the service as its users start it in a child; both end
with Ctrl-C. What the farm knows of its proxies is shown beside what the pool has found out.
"""

import asyncio
import contextlib
import itertools
import json
import os
import shlex
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
import yaml

from fetcher.run.fetcher import Fetcher
from fetchpool.config.convert import convert_tree
from fetchpool.config.settings import Settings
from fetchpool.config.yaml_tree import Override, build_tree
from fetchpool.farm.farm import LISTS, Farm
from fetchpool.farm.kinds import Kind
from fetchpool.redis.embedded import socket_path

GOOD, NEW = 100, 10

# A tenth of a real list is as good as this; the rest is here to be looked at.
MIXTURE: Final = {
    **dict.fromkeys(Kind, 1),
    Kind.GOOD: 8,
    Kind.SLOW: 3,
    Kind.HANGING: 13,
    Kind.REFUSING: 13,
    Kind.SOCKS5: 2,
}
NAMED: Final = (Kind.GOOD, Kind.SLOW, Kind.HANGING, Kind.REFUSING)  # in a line of their own
SITE, API, PROXY = 8900, 5555, 5556  # ports
LOOK: Final = 1.0  # seconds between two looks at the pool
LINE: Final = 5  # looks between two lines
TABLE: Final = 60  # looks between two tables
PATIENCE: Final = 15.0  # seconds for the service to stop
UNFAITHFUL: Final = (Kind.TAMPERING, Kind.ALTERING)
FAREWELL: Final = (
    "stopping: the service ends, and its settings and data go with it"
    " (unset FETCHPOOL_CONFIG where it names them)"
)

Shown = dict[str, Any]
"""A proxy as `GET /api/proxies` has it."""


class Row(NamedTuple):
    """One kind of proxies, as the farm has them and as the pool sees them."""

    kind: Kind
    there: int
    good: int  # at 100
    failed: int  # below 10
    verdict: str  # in words


class Demo:
    """A farm, and the service on it; `program` and `options` start a process of ours.

    `overrides` are the settings among those options. Raises SettingsError for a port that is none.
    """

    def __init__(
        self,
        farm: Farm,
        folder: Path,
        program: Sequence[str],
        options: Sequence[str],
        overrides: Sequence[Override] = (),
    ) -> None:
        self.farm = farm
        self.words = [*program, *options]
        self.typed = [*shorten(program), *options]  # the same, for people
        self.settings = folder / "demo.yaml"
        self.data = folder.resolve() / "data"
        given = read_ports(overrides)
        self.port = find_port(given.get("api"), API, given.get("forward"))
        self.proxy_port = find_port(given.get("forward"), PROXY, self.port)
        self.wanted = {
            "site": SITE,
            "API": given.get("api") or API,
            "forward proxy": given.get("forward") or PROXY,
        }

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def proxy(self) -> str:
        return f"http://127.0.0.1:{self.proxy_port}"

    def write_settings(self) -> None:
        origin, has_tls = self.farm.origin, self.farm.certificate is not None
        settings = {
            "redis": {"data_dir": str(self.data)},
            "log": {"level": "warning"},
            "fetcher": {"drain": 2, "ca_file": self.farm.ca_file if has_tls else None},
            "pool": {
                "allow_private": True,
                "sites": {
                    "universal": {"url": [f"{origin.url}/home"], "body": "fetchpool farm</h1>"}
                },
                # Our own /judge for http, a page of the farm that echoes for https.
                "judges": [f"{origin.https_url}/get"] if has_tls else [],
                "check": {"cycle": 4, "timeout": 2, "connect_timeout": 1, "backoff_max": 20},
                "harvest": {"cycle": 20},
                "sources": [
                    {"name": path.rpartition(".")[2], "url": f"{origin.url}{path}"}
                    for path in LISTS
                ],
            },
            "api": {"port": self.port, "public_url": self.api, "allow_private": True},
            "forward": {"port": self.proxy_port, "allow_private": True},
        }
        self.settings.write_text(yaml.safe_dump(settings))


def shorten(program: Sequence[str]) -> Sequence[str]:
    """What people type for the words that start a process of ours: `fetchpool`, if it is installed
    beside this interpreter, with its path unless the shell finds it."""
    installed = Path(sys.executable).parent / "fetchpool"
    if not installed.is_file():
        return program
    found = shutil.which("fetchpool")
    is_found = found is not None and os.path.samefile(found, installed)
    return ["fetchpool" if is_found else str(installed)]


def choose_mixture() -> dict[Kind, int]:
    """Without the openssl program, there is no certificate for those that need one."""
    if shutil.which("openssl"):
        return MIXTURE
    without = (Kind.TLS, Kind.TLS_INTERCEPTING)
    return {kind: count for kind, count in MIXTURE.items() if kind not in without}


async def read_pool(demo: Demo, fetcher: Fetcher) -> dict[str, Shown] | None:
    """What the pool has at each address, its best if several; None: the service is not up yet."""
    result = await fetcher.fetch(f"{demo.api}/api/proxies?limit=1000")
    if result.status_code != 200:
        return None
    found: dict[str, Shown] = {}
    for one in json.loads(result.content)["proxies"]:  # best first
        found.setdefault(f"{one['host']}:{one['port']}", one)
    return found


def is_known(demo: Demo, found: dict[str, Shown]) -> bool:
    """Whether every proxy has been checked, and the good ones have been looked into."""
    truth = demo.farm.truth
    return all(
        (one := found.get(address)) is not None
        and one["checked"] is not None
        and (kind is not Kind.GOOD or one["proven"] is not None)
        for address, kind in truth.items()
    )


def compare(demo: Demo, found: dict[str, Shown]) -> list[Row]:
    """The farm's truth beside the pool's findings."""
    kinds: dict[Kind, list[Shown]] = defaultdict(list)
    for address, kind in demo.farm.truth.items():
        kinds[kind].append(found.get(address, {}))
    return [
        Row(
            kind,
            len(seen),
            sum(one.get("score") == GOOD for one in seen),
            sum(one.get("score", NEW) < NEW for one in seen),
            Counter(map(describe, seen)).most_common(1)[0][0],
        )
        for kind, seen in kinds.items()
    ]


def describe(one: Shown) -> str:
    """What the pool has found out about a proxy, in words."""
    if not one:
        return "not in the pool"
    if one["last"] is None:
        return "not checked yet"
    if one["last"] != "passed":
        return f"fails: {one['last']}"
    words = [
        one["anonymity"],
        {True: "CONNECT", False: "no CONNECT"}.get(one["connect"]),
        "no TLS through it" if one["connect"] and one["tls"] is False else None,
        {False: "alters pages"}.get(one["unaltered"]),
        f"leaves from {one['exit']}" if one["exit"] not in (None, one["host"]) else None,
    ]
    return ", ".join(word for word in words if word) or "passes"


def explain(demo: Demo) -> Iterator[str]:
    kinds = len(set(demo.farm.truth.values()))
    yield f"{len(demo.farm.proxies)} proxies of {kinds} kinds and a site, all of them on loopback:"
    yield f"  the site      {demo.farm.origin.url}/"
    for path in LISTS:
        yield f"  proxy list    {demo.farm.origin.url}{path}"
    yield "(to those proxies every host name is that site, example.com too)"
    ports = {"site": demo.farm.origin.port, "API": demo.port, "forward proxy": demo.proxy_port}
    for what, port in ports.items():
        if port != demo.wanted[what]:
            yield f"port {demo.wanted[what]} is taken, so the {what} is at {port}"
    yield "and the whole service, which knows nothing but those lists. While it finds out, try:"
    yield f"  curl {demo.api}/random"
    yield f"  curl {demo.api}/count"
    yield f"  curl '{demo.api}/random?anonymity=transparent&format=json'"
    yield f"  curl -i '{demo.api}/fetch?url={demo.farm.origin.url}/ip'"
    yield f"  curl -i -x {demo.proxy} http://example.com/ip"
    yield f"  curl {demo.api}/api/stats"
    yield "and commands, once they know its settings:"
    yield f"  export FETCHPOOL_CONFIG={demo.settings}"
    yield f"  {shlex.join(demo.typed)} queue status"
    yield "Ctrl-C ends both."
    yield ""


def render_line(seconds: float, rows: Iterable[Row]) -> str:
    """The state in one line: how many of each kind are at 100."""
    by_kind = {row.kind: row for row in rows}
    parts = [f"{kind} {by_kind[kind].good}/{by_kind[kind].there}" for kind in NAMED]
    others = [row for row in by_kind.values() if row.kind not in NAMED]
    parts.append(f"others {sum(row.good for row in others)}/{sum(row.there for row in others)}")
    return f"{seconds:4.0f} s  at 100: {', '.join(parts)}"


def render(rows: Iterable[Row]) -> Iterator[str]:
    yield ""
    yield f"{'what it is':18}{'there':>7}{'at 100':>8}{'failed':>8}   what the pool has found out"
    for row in sorted(rows, key=lambda row: (-row.good, row.kind)):
        yield f"{row.kind:18}{row.there:>7}{row.good:>8}{row.failed:>8}   {row.verdict}"
    yield "At 100: let the site's home page through; what else it does is in the last column."


async def show_session(demo: Demo, fetcher: Fetcher) -> None:
    """What a user sees, once there is something to see."""
    target = f"{demo.farm.origin.url}/ip"
    for path in ("/random", "/random?anonymity=transparent", "/count", f"/fetch?url={target}"):
        url = f"{demo.api}{path}"
        result = await fetcher.fetch(url)
        click.echo(f"\n$ curl '{url}'\n{result.content.decode(errors='replace').rstrip()}")
        if "X-Fetch-Proxy" in result.headers:
            way = explain_way(
                demo.farm, result.headers["X-Fetch-Proxy"], result.headers["X-Fetch-Attempts"]
            )
            click.echo("\n".join(way))
    click.echo("")


def explain_way(farm: Farm, proxy: str, attempts: str) -> Iterator[str]:
    """How a page came, from what its header says."""
    yield f"(by {proxy}, attempts: {attempts})"
    if farm.truth.get(proxy.rpartition("/")[2]) in UNFAITHFUL:
        yield "(that proxy alters pages: see the table)"


@contextlib.asynccontextmanager
async def service(demo: Demo) -> AsyncIterator[asyncio.subprocess.Process]:
    """The service in a child, out of reach of the terminal's Ctrl-C, which is for us; with its
    Redis, which ends after it."""
    demo.write_settings()
    process = await asyncio.create_subprocess_exec(
        *demo.words, "-c", str(demo.settings),
        # After what was given, which may be 0.
        "-s", f"api.port={demo.port}", "-s", f"forward.port={demo.proxy_port}",
        stdin=asyncio.subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), PATIENCE)
        except TimeoutError:
            process.kill()
            await process.wait()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(wait_for_redis(demo.data), PATIENCE)


async def wait_for_redis(data: Path) -> None:
    """Until the service's own Redis has ended, and so writes nothing any more."""
    path = socket_path(data)
    while True:
        try:
            _, writer = await asyncio.open_unix_connection(path)
        except OSError:
            return
        writer.close()
        await asyncio.sleep(0.02)


async def watch(demo: Demo, once: bool) -> None:
    """A line now and then; a table and a session when all is known; and tables when it changes."""
    began, tabled, known = time.monotonic(), 0, False
    shown: list[Row] = []
    async with Fetcher.from_settings(timeout=10, proxy="direct") as fetcher:
        for look in itertools.count(1):
            await asyncio.sleep(LOOK)
            found = await read_pool(demo, fetcher)
            if found is None:
                continue
            rows = compare(demo, found)
            is_first = not known and is_known(demo, found)
            if is_first or (known and rows != shown and look - tabled >= TABLE):
                click.echo("\n".join(render(rows)))
                shown, tabled = rows, look
            elif look % LINE == 0:
                click.echo(render_line(time.monotonic() - began, rows))
            if is_first:
                known = True
                await show_session(demo, fetcher)
            if known and once:
                click.echo(json.dumps({row.kind: row._asdict() for row in rows}))
                return


async def run(
    program: Sequence[str],
    options: Sequence[str],
    overrides: Sequence[Override] = (),
    *,
    once: bool,
) -> bool:
    """Until Ctrl-C, or with `once` until all is known; whether the service has lasted so long.

    `program` and `options` start another process of ours, to which more options and a command are
    added. `overrides` are the settings among the options.
    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def received() -> None:
        if not stop.is_set():
            stop.set()
            with contextlib.suppress(OSError):  # the terminal may have gone
                click.echo(FAREWELL)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, received)
    with tempfile.TemporaryDirectory(prefix="fetchpool-demo-", ignore_cleanup_errors=True) as name:
        async with Farm(choose_mixture(), delay=0.5, port=choose_port(SITE)) as farm:
            demo = Demo(farm, Path(name), program, options, overrides)
            click.echo("\n".join(explain(demo)))
            async with service(demo) as process:
                ends: list[asyncio.Task[object]] = [
                    loop.create_task(watch(demo, once)),
                    loop.create_task(stop.wait()),
                    loop.create_task(process.wait()),
                ]
                done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                for one in ends:
                    one.cancel()
                await asyncio.gather(*ends, return_exceptions=True)
                if ends[2] in done:
                    click.echo(f"the service has ended with {process.returncode}", err=True)
                    return False
                for one in done:
                    one.result()
    return True


def read_ports(overrides: Sequence[Override]) -> dict[str, int]:
    """The ports that are given, by section. Raises SettingsError for what is none."""
    tree = build_tree({}, overrides=overrides, env=os.environ)
    ports = {
        name: {"port": section["port"]}
        for name in ("api", "forward")
        # What else stands there, the service itself refuses.
        if isinstance(section := tree.get(name), Mapping) and "port" in section
    }
    settings = convert_tree(ports, Settings)
    return {name: getattr(settings, name).port for name in ports}


def find_port(given: int | None, usual: int, other: int | None) -> int:
    """The given port, whether it is free or not; 0 is any. Else the usual one, unless it is taken
    or the `other` entrance has it."""
    if given:
        return given
    return choose_port(0 if given == 0 or usual == other else usual)


def choose_port(wanted: int) -> int:
    """The usual port if it is free, else any."""
    for port in (wanted, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise OSError("no port is free")
