"""A fetcher that can reach nothing but one raw origin, and what must hold of whatever it brings.

Random URLs and Locations may name any place: sockets are refused to all addresses but `HOST`, and
names are asked of a server on loopback that knows none.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec

from fetcher.client.curl import CurlClient
from fetcher.dns.resolver import Resolver
from fetcher.guard import is_public
from fetcher.model import Result, Task, Trust
from fetcher.route.route import DIRECT
from fetcher.run.fetcher import Fetcher
from fetcher.run.path import Fetching
from fetcher.task.request import Defaults
from fetcher.task.wire import encode_pair, parse_task
from tests.dns_server import DnsServer
from tests.fetcher.fetchers import build_fetcher
from tests.raw_origin import KEEP, RawOrigin, Script
from tests.wait import wait_until

HOST: Final = "127.0.0.77"  # where nobody else on this machine listens
MAX_BODY: Final = 65536
TIMEOUT: Final = 0.5  # seconds, of each task that says nothing
SLACK: Final = 5.0  # seconds that a busy machine may be late

ALWAYS: Final = {
    "status_code", "orig_url", "url", "headers", "content", "cookies", "time", "save",
    "proxy", "attempts", "timing",
}  # fmt: skip
GOOD: Final[Script] = (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood", KEEP)

# What libcurl says when it has not got over the end of a kept connection.
DIED: Final = re.compile("Connection died|reset by peer|Broken pipe|Empty reply")

DEFAULTS: Final = Defaults(
    user_agent="fetchpool-test", timeout=TIMEOUT, max_timeout=2.0, max_body=MAX_BODY
)


class Sandbox:
    """One fetcher, as the service builds it, one origin, and a count of all that was begun."""

    def __init__(self, fetcher: Fetcher, clients: list[CurlClient], origin: RawOrigin) -> None:
        self.fetcher = fetcher
        self.clients = clients
        self.origin = origin
        self.begun = self.ended = 0
        origin.scripts["/good"] = GOOD

    @classmethod
    @contextlib.asynccontextmanager
    async def running(cls) -> AsyncIterator["Sandbox"]:
        """All of it on this loop; at the end nothing may be under way or watched any more."""
        loop = asyncio.get_running_loop()
        async with RawOrigin(HOST) as origin, DnsServer.running({}) as names:
            watched = _watched(loop)
            resolver = Resolver(nameservers=[names.host], port=names.port)
            options: dict[str, Any] = {"force_instance": True, "resolver": resolver}
            clients = [
                CurlClient(guard=lambda address: address == HOST, **options),
                CurlClient(guard=is_public, **options),
            ]
            fetcher = build_fetcher(
                dict(zip((Trust.OPEN, Trust.GUARDED), clients, strict=True)),
                DEFAULTS,
                route=DIRECT,
                robots_ttl=0.0,
            )
            box = cls(fetcher, clients, origin)
            try:
                yield box
                await box.settle()
            finally:
                fetcher.shared.robots.close()
                for client in clients:
                    client.close()
                resolver.close()
            assert [client._poller.watched for client in clients] == [0, 0]
            await wait_until(lambda: _watched(loop) <= watched, what="readers to be removed")

    async def run(self, task: Task, trust: Trust = Trust.OPEN) -> Result:
        """The one result of a task; a second one would be found by `settle`."""
        results: list[Result] = []

        def done(fetching: Fetching, result: Result) -> None:
            self.ended += 1
            results.append(result)

        self.begun += 1
        self.fetcher.run(task, done, trust=trust)
        limit = DEFAULTS.max_timeout + SLACK
        await wait_until(lambda: results, timeout=limit, what=f"a result of {task.url!r:.200}")
        return results[0]

    async def fetch(self, url: str, **fetch: Any) -> Result:
        """Fetch and check what every result must be."""
        tree = {"taskid": "t", "project": "p", "url": url, "fetch": fetch}
        result = await self.run(parse_task(tree))
        check_result(tree, result, fetch.get("timeout") or TIMEOUT)
        return result

    async def serve(self, *script: Any, **fetch: Any) -> Result:
        """Play the script to a fetch; the next answer to anybody must be untouched by it."""
        self.origin.scripts["/case"] = script
        result = await self.fetch(self.origin.url + "/case", **fetch)
        await self.origin.release()
        after = await self.fetch(self.origin.url + "/good")
        if DIED.search(str(after.error)):
            # The script's end has met us on a kept connection. A POST goes on a new one.
            after = await self.fetch(self.origin.url + "/good", method="POST")
        assert (after.status_code, after.content) == (200, b"good"), after
        return result

    async def settle(self) -> None:
        """Nothing is under way, nothing came twice, and nothing of ours has failed."""
        await wait_until(lambda: not self.in_flight, what="all to have ended")
        assert self.ended == self.begun
        assert (self.fetcher.shared.errors, self.fetcher.shared.robots.errors) == (0, 0)

    @property
    def in_flight(self) -> int:
        clients = sum(client.in_flight for client in self.clients)
        return self.fetcher.in_flight + self.fetcher.shared.robots.in_flight + clients


def check_result(tree: dict[str, Any], result: Result, timeout: float) -> None:
    """The laws of a result, whatever the other side has sent."""
    echoed, out = msgspec.msgpack.decode(encode_pair(msgspec.msgpack.encode(tree), result))
    assert echoed == tree
    successful = 200 <= out["status_code"] < 300
    expected = set() if successful else {"error"}
    assert out.keys() - {"traceback"} == ALWAYS | expected
    assert out.get("traceback") is None, out["traceback"]
    assert isinstance(out["status_code"], int) and 100 <= out["status_code"] <= 999
    assert successful or re.fullmatch(r"HTTP [0-9]{1,3}: .+", out["error"], re.DOTALL), out["error"]
    for mapping in (out["headers"], out["cookies"]):
        assert all(isinstance(text, str) for item in mapping.items() for text in item)
    assert isinstance(out["content"], bytes) and len(out["content"]) <= MAX_BODY
    assert isinstance(out["url"], str) and out["url"].startswith("http")
    assert 0 <= out["time"] <= timeout + SLACK


def _watched(loop: asyncio.AbstractEventLoop) -> int:
    """How many descriptors asyncio's own loop watches; uvloop does not tell."""
    selector = getattr(loop, "_selector", None)
    return len(selector.get_map()) if selector is not None else 0
