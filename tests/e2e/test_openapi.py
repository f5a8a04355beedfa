"""The API does what its description says: schemathesis asks a real service all that may be asked.

With a pool that a farm fills, on loopback; `openapi_hooks` keeps what it makes up there.
"""

import asyncio
import contextlib
import gc
import inspect
import json
import os
import re
import shutil
import sys
from collections import Counter
from collections.abc import AsyncIterator
from itertools import cycle
from pathlib import Path
from typing import Any, Final

import pytest
from tornado.httpclient import AsyncHTTPClient

from fetcher.dns.cares_channel import Source
from fetcher.proxy import parse_proxy
from fetchpool.farm import Kind
from fetchpool.serve.openapi import HOST
from fetchpool.serve.service import Service
from pool.model import Candidate, Record
from pool.settings import Pool
from pool.store import Store
from tests.dns_server import DnsServer
from tests.docs.blocks import ROOT
from tests.e2e.pooled import Running, running
from tests.fetchpool.given import settings
from tests.fetchpool.serve.test_service import running as without_proxies
from tests.redis_server import unavailable
from tests.resources import open_files
from tests.serving import calling
from tests.wait import wait_until

GOOD: Final = 20
TUNNEL: Final = "1f2e3d4c-0011223344556677"  # that of the example
# Both ends of those that libcurl keeps: of fetcher.poolsize and of api.concurrency.
CONNECTIONS: Final = 2 * (100 + 200)
FEW: Final = {"max-examples": 4, "deterministic": True}  # beside some 2,500 of fixed cases
MANY: Final = {"max-examples": 300}  # others in each run
WRONG_METHODS: Final = ["PATCH", "TRACE"]  # of a route; else all that there are
OURS: Final = re.compile(rf"{ROOT}/(fetcher|pool|fetchpool(?!/farm))/")
PACE: Final = 0.1  # seconds from byte to byte of slow clients
HEAD: Final = b"Host: localhost\r\nConnection: close\r\n"
KEPT: Final = [f"127.9.9.7:{port}" for port in range(1, 11)]
SPARE: Final = [f"127.9.9.8:{port}" for port in range(1, 11)]

# What is not as schemathesis takes for granted, and why. All other checks are on for all routes.
OPERATIONS: Final = [
    {
        # A task that is none has a result of its own, a 599, beside those of its neighbours.
        "include-path": "/tasks",
        "checks": {"negative_data_rejection": {"enabled": False}},
    },
    {
        # It takes every method, also those that OpenAPI 3.1 cannot name (QUERY); and its answers
        # are the target's: those of ours are looked at by a check of our own.
        "include-path": "/fetch",
        "checks": {
            "unsupported_method": {"enabled": False},
            "content_type_conformance": {"enabled": False},
            "response_schema_conformance": {"enabled": False},
        },
    },
]
# 500 is never right. These are said where there is no proxy, no renderer or no answer of a target.
STATUSES: Final = ["2xx", "3xx", "4xx", "501", "502", "503", "504"]


@contextlib.asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Running]:
    """The service with good proxies, and others that stay or may go, whose names nobody knows."""
    async with (
        DnsServer.running({}) as names,
        running(
            folder, {Kind.GOOD: GOOD}, api={"proxy": "direct"}, forward={"connect_ports": []}
        ) as one,
    ):
        resolver = one.service.fetcher.shared.resolver
        assert resolver is not None
        resolver._source = Source((names.host,), names.port, 1.0)
        proxies = (parse_proxy(proxy) for proxy in KEPT + SPARE)
        await Store(one.redis, Pool()).add(Candidate(proxy, Record()) for proxy in proxies)

        async def are_known() -> bool:
            stats = json.loads((await one.ask("/api/stats")).body)["pool"]
            return stats["good"] == GOOD and stats["found"] == GOOD + len(KEPT + SPARE)

        await wait_until(are_known, 15, "the pool to be filled")
        yield one
        assert dict(names.asked) == {}  # no text that was made up was taken for a name


@contextlib.asynccontextmanager
async def tunnels(one: Running, count: int) -> AsyncIterator[list[str]]:
    """Some that are open; their ids."""
    target = one.farm.origin.url.partition("://")[2].encode()
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(count):
            port = one.service.entrances.forward_port
            reader, writer = await stack.enter_async_context(calling(port=port))
            writer.write(b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (target, target))
            assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
        found = json.loads((await one.ask("/api/tunnels")).body)
        assert found["total"] == count
        yield [tunnel["id"] for tunnel in found["tunnels"]]


async def ask_everything(one: Running, folder: Path, *, is_short: bool) -> dict[str, Any]:
    """The report of a run of schemathesis; what it says if it found something."""
    listed = json.loads((await one.ask("/api/proxies?limit=1000")).body)["proxies"]
    kept = [proxy["id"] for proxy in listed if proxy["proxy"].removeprefix("http://") in KEPT]
    config = {
        "continue-on-failure": True,
        "request-timeout": 30.0,
        "generation": FEW if is_short else MANY,
        "checks": {"not_a_server_error": {"expected-statuses": STATUSES}},
        # The description has no examples of its own, so the phase of these has nothing to do.
        "phases": {
            "examples": {"enabled": False},
            "coverage": {"unexpected-methods": WRONG_METHODS} if is_short else {},
        },
        "operations": OPERATIONS,
    }
    lines = [f"{name} = {spell_toml(value)}\n" for name, value in config.items()]
    (folder / "schemathesis.toml").write_text("".join(lines))
    # From a file: of an URL it would pass over the operation that gives the document.
    (folder / "openapi.json").write_bytes((await one.ask("/openapi.json")).body)
    url = f"http://127.0.0.1:{one.service.entrances.api_port}/"
    async with tunnels(one, 5) as ids:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "schemathesis.cli"),
            *("--config-file", folder / "schemathesis.toml", "run", folder / "openapi.json"),
            *("--url", url, "--no-color"),
            *("--report", "json", "--report-json-path", folder / "report.json"),
            cwd=folder,
            env={
                **{
                    name: value for name, value in os.environ.items() if "proxy" not in name.lower()
                },
                "PYTHONPATH": str(ROOT),
                "SCHEMATHESIS_HOOKS": "tests.e2e.openapi_hooks",
                "OPENAPI_SITE": one.farm.origin.url,
                "OPENAPI_PROXIES": ",".join(proxy.url() for proxy in one.farm.proxies[:3]),
                "OPENAPI_KEPT": ",".join(kept),
                "OPENAPI_SPARE": ",".join(SPARE),
                "OPENAPI_TUNNELS": ",".join(ids),
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
    assert process.returncode == 0, said.decode(errors="replace")[-20_000:]
    report: dict[str, Any] = json.loads((folder / "report.json").read_bytes())
    return report


def spell_toml(value: object) -> str:
    """A value on one line."""
    if isinstance(value, dict):
        pairs = (f"{json.dumps(name)} = {spell_toml(one)}" for name, one in value.items())
        return f"{{ {', '.join(pairs)} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(spell_toml, value))}]"
    return json.dumps(value)


def check_report(report: dict[str, Any], operations: int) -> None:
    """All of it was done, and nothing passed over."""
    assert report["complete"]
    assert report["operations"] == {
        "total": operations,
        "selected": operations,
        "tested": operations,
        "errored": 0,
        "skipped": 0,
        "skip_reasons": [],
    }
    phases = {name: phase["status"] for name, phase in report["phases"].items()}
    assert phases == {
        "examples": "skip",
        "coverage": "success",
        "fuzzing": "success",
        "stateful": "success",
    }
    cases = report["test_cases"]
    assert (cases["with_failures"], cases["errored"], cases["without_checks"]) == (0, 0, 0)
    assert (report["failures"], report["errors"], report["filtered"]) == ([], [], 0)
    assert not any(report["warnings"].values())


# The proxy that stands for `host:port`.
MEANT: Final = {"/api/report": KEPT[0], "/proxy_pool/delete": SPARE[0]}


async def test_every_example_of_the_page_runs(tmp_path: Path) -> None:
    if not shutil.which("curl"):
        unavailable("no curl program to run the examples with")
    async with serving(tmp_path) as one, tunnels(one, 1) as [tunnel]:
        paths = json.loads((await one.ask("/openapi.json")).body)["paths"]
        for path, methods in paths.items():
            for said in methods.values():
                for sample in said.get("x-codeSamples", ()):
                    command = (
                        sample["source"]
                        .replace("http://example.com", one.farm.origin.url)
                        .replace(HOST, f"127.0.0.1:{one.service.entrances.api_port}")
                        .replace("host:port", MEANT.get(path, SPARE[1]))
                        .replace(TUNNEL, tunnel)
                    )
                    assert await run_curl(command) in (b"200", b"202"), command


async def run_curl(command: str) -> bytes:
    """The status of the answer."""
    program, _, rest = command.partition(" ")
    assert program == "curl"
    process = await asyncio.create_subprocess_shell(
        f"curl -s -o /dev/null -w '%{{http_code}}' {rest}", stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    return said


@pytest.mark.soak
@pytest.mark.timeout(1800)
async def test_whatever_may_be_asked_is_answered_as_described(tmp_path: Path, scale: int) -> None:
    async with serving(tmp_path) as one:
        document = json.loads((await one.ask("/openapi.json")).body)
        async with staying_as_it_is(one.service, kept=CONNECTIONS), slow_clients(one.service, 50):
            report = await ask_everything(one, tmp_path, is_short=scale == 1)
        check_report(report, sum(map(len, document["paths"].values())))
        assert report["test_cases"]["generated"] >= (1000 if scale == 1 else 10_000)


async def test_slow_clients_and_a_thousand_at_once_change_nothing(tmp_path: Path) -> None:
    paths = ["/livez", "/random", "/count", "/api/stats", "/metrics", "/docs", "/nothing", "/fetch"]
    async with without_proxies(tmp_path, settings(redis__url="redis://127.0.0.1:1/0")) as one:
        service = one.service
        asked = [path for path, _ in zip(cycle(paths), range(1000), strict=False)]

        async def ask_all() -> list[bytes]:
            return await asyncio.gather(*(ask_once(service, path) for path in asked))

        await ask_all()  # so many ask Redis at once, over connections that it keeps
        async with staying_as_it_is(service), slow_clients(service, 200):
            statuses = await ask_all()
        assert (await one.get("/healthz")).code == 200
    assert Counter(statuses) == {b"200": 625, b"503": 125, b"404": 125, b"400": 125}


# -- health ----------------------------------------------------------------------------------------


async def ask_once(service: Service, path: str) -> bytes:
    """The status, on a connection of its own."""
    async with calling(port=service.entrances.api_port) as (reader, writer):
        writer.write(b"GET %b HTTP/1.1\r\n%b\r\n" % (path.encode(), HEAD))
        return (await reader.read()).split(b" ", 2)[1]


@contextlib.asynccontextmanager
async def slow_clients(service: Service, count: int) -> AsyncIterator[None]:
    """Requests that never end: their heads come byte by byte, each when /livez has answered, and
    not so fast that nobody else has the machine."""
    async with contextlib.AsyncExitStack() as stack:
        writers = []
        for _ in range(count):
            called = calling(port=service.entrances.api_port)
            _, writer = await stack.enter_async_context(called)
            writer.write(b"GET /livez HTTP/1.1\r\nX: ")
            writers.append(writer)

        async def go_on() -> None:
            while True:
                assert await ask_once(service, "/livez") == b"200"
                for writer in writers:
                    with contextlib.suppress(ConnectionError):  # after two minutes it is cut off
                        writer.write(b"x")
                        await writer.drain()
                await asyncio.sleep(PACE)

        sending = asyncio.create_task(go_on())
        try:
            yield
        finally:
            sending.cancel()
            await asyncio.wait([sending])
        assert sending.cancelled()


@contextlib.asynccontextmanager
async def staying_as_it_is(service: Service, *, kept: int = 0) -> AsyncIterator[None]:
    """When all have left, nothing is left of them but connections that are `kept` for others."""
    await wait_for_rest(service)
    files, tasks = open_files(), name_tasks()
    yield
    await wait_for_rest(service)
    assert name_tasks() - tasks == Counter()
    assert open_files() <= files + kept
    assert await ask_once(service, "/livez") == b"200"


async def wait_for_rest(service: Service) -> None:
    """Wait until nobody is connected to it."""
    entrances = service.entrances

    def is_alone() -> bool:
        return not entrances.taken and not any(one._connections for one in entrances._servers)

    AsyncHTTPClient().close()  # of who has asked here
    await wait_until(is_alone, 15, "all clients to have left")
    gc.collect()


def name_tasks() -> Counter[str]:
    """Those of the service: the farm serves connections that are kept for the next fetch, and what
    waits for an event is there or not as it happens."""
    coroutines = [task.get_coro() for task in asyncio.all_tasks()]
    codes = [one.cr_code for one in coroutines if inspect.iscoroutine(one)]
    return Counter(one.co_qualname for one in codes if OURS.match(one.co_filename))
