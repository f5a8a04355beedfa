"""The service in this process, with a farm's proxies in its pool and nothing else around it."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from tornado.httpclient import AsyncHTTPClient, HTTPResponse

from fetcher.proxy import parse_proxy
from fetchpool.config.settings import parse_settings
from fetchpool.farm import Farm, FarmProxy, Kind
from fetchpool.redis.connect import connect
from fetchpool.serve.roles import ALL
from fetchpool.serve.service import Service
from pool.model import Candidate, Record
from pool.settings import Pool
from pool.store import Store
from tests.redis_server import RedisServer
from tests.wait import wait_until

UNIVERSAL, SHOP = "proxies:universal", "proxies:shop"


class Running:
    """The service, whose sites `universal` and `shop` both want the origin's page /html.

    `shop` are more settings of that site (`url` as paths), `check` of the checks, `pool` of all
    the pool; `lists` are the paths of the origin that are sources. Where the farm has TLS, that
    page is an https one. Fetches go through the pool; hosts below shop.test are the shop's.
    """

    def __init__(
        self,
        farm: Farm,
        url: str,
        *,
        shop: Mapping[str, Any],
        check: Mapping[str, Any],
        pool: Mapping[str, Any],
        lists: Sequence[str],
        tls: bool,
        api: Mapping[str, Any],
        forward: Mapping[str, Any],
    ) -> None:
        self.farm = farm
        self.redis: Redis = connect(url)
        origin = farm.origin.https_url if tls else farm.origin.url
        page = {"url": [f"{origin}/html"], "body": "Chickens"}
        if "url" in shop:
            shop = {**shop, "url": [farm.origin.url + path for path in shop["url"]]}
        times = {"cycle": 3600, "timeout": 2, "connect_timeout": 1, "rate": 0, **check}
        tree = {
            "api": {"port": 0, "allow_private": True, "proxy": "pool", **api},
            "forward": {"port": 0, "allow_private": True, **forward},
            "redis": {"url": url},
            "fetcher": {"attempt_timeout": 1, "ca_file": farm.ca_file if tls else None},
            "pool": {
                "sources": [
                    {"name": path.strip("/"), "url": f"{farm.origin.url}{path}"} for path in lists
                ],
                "allow_private": True,
                "check": times,
                "sites": {"universal": page, "shop": {**page, "match": ["shop.test"], **shop}},
                **pool,
            },
        }
        self.stop = asyncio.Event()
        self.service = Service(
            parse_settings(tree, env={}),
            ALL,
            url,
            environment={},
            echo=lambda line: None,
            quit=self.stop.set,
        )
        self.task = asyncio.create_task(self.service.run(self.stop))

    async def add(self, *proxies: FarmProxy) -> None:
        store = Store(self.redis, Pool())
        await store.add(Candidate(parse_proxy(one.url()), Record()) for one in proxies)

    async def ask(self, path: str, body: object = None, method: str | None = None) -> HTTPResponse:
        """The answer to a GET, or to a POST of `body` as JSON."""
        url = f"http://127.0.0.1:{self.service.entrances.api_port}{path}"
        return await AsyncHTTPClient().fetch(
            url,
            method=method or ("GET" if body is None else "POST"),
            body=None if body is None else json.dumps(body),
            raise_error=False,
        )

    async def fetch(self, host: str = "www.shop.test", path: str = "/html") -> int:
        return (await self.ask(f"/fetch?url=http://{host}{path}")).code

    async def scores(self, key: str) -> dict[str, float]:
        rows: list[Any] = [*await self.redis.zrange(key, 0, -1, withscores=True)]
        return {member.decode(): score for member, score in rows}

    async def become(self, universal: dict[str, float], shop: dict[str, float]) -> None:
        """Wait until Redis and this process's snapshots say so."""
        shots = self.service._view.by_key

        async def are_so() -> bool:
            for key, expected in ((UNIVERSAL, universal), (SHOP, shop)):
                entries = [shots[key].get(member) for member in shots[key].members()]
                known = {one.member: one.score for one in entries if one is not None}
                if not await self.scores(key) == known == expected:
                    return False
            return True

        await wait_until(are_so, 15, f"{universal} and {shop}")


@contextlib.asynccontextmanager
async def running(
    folder: Path,
    kinds: Mapping[Kind, int],
    *,
    shop: Mapping[str, Any] = {},
    check: Mapping[str, Any] = {},
    pool: Mapping[str, Any] = {},
    lists: Mapping[str, str] = {},
    tls: bool = False,
    api: Mapping[str, Any] = {},
    forward: Mapping[str, Any] = {},
) -> AsyncIterator[Running]:
    """The service on a Redis of its own in `folder`, its pool filled from a farm of `kinds`.

    `lists`: path -> text of what the origin serves as sources.
    """
    async with Farm(kinds, tls=tls) as farm:
        for path, text in lists.items():
            farm.origin.lists[path] = ("text/plain", text.encode())
        with RedisServer.start(folder) as server:
            one = Running(
                farm,
                server.url,
                shop=shop,
                check=check,
                pool=pool,
                lists=list(lists),
                tls=tls,
                api=api,
                forward=forward,
            )
            await wait_until(lambda: one.service.entrances.api_port or one.task.done())
            await one.add(*farm.proxies)
            try:
                yield one
            finally:
                one.stop.set()
                await one.task
                await one.redis.aclose()
