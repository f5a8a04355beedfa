"""What a service says of itself to the one who has started it: once, and while its pool fills."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from fetchpool.config.settings import Settings
from fetchpool.redis.connect import mask_url
from fetchpool.serve.roles import PROXY_POOL, Roles
from pool.snapshot.follower import Follower
from pool.snapshot.snapshot import Snapshot

Say = Callable[[str], None]

_STATUS_FIRST: Final = 2.0  # seconds
_STATUS_MOST: Final = 300.0


def build_announcement(
    settings: Settings, roles: Roles, urls: Mapping[str, str], redis: str
) -> list[str]:
    """What a start says: `urls` are those of the entrances, `redis` is that of Redis."""
    lines = []
    if "api" in urls:
        lines.append(f"HTTP API     {urls['api']}/  (/random /all /count /fetch?url= /healthz)")
    if PROXY_POOL in urls:
        lines.append(f"proxy_pool   {urls[PROXY_POOL]}/  (/get /pop /delete /all /count)")
    if "fetcher.rpc" in urls:
        lines.append(f"XML-RPC      {urls['fetcher.rpc']}/")
    if roles.queue and settings.queue.enabled:
        queue = settings.queue
        lines.append(f"Redis queue  {queue.in_} -> {queue.out}  at {mask_url(redis)}")
    if roles.pool:
        enabled = sum(source.enabled for source in settings.pool.sources)
        lines.append(f"Proxy pool   {settings.pool.key}, {enabled} sources")
    return lines


async def say_status(follower: Follower, snapshot: Snapshot, say: Say) -> None:
    """A line when the numbers have changed, while there are proxies that nobody has checked.

    Ever more seldom: it is for the one who has just started the service and watches.
    """
    await follower.ready.wait()
    said, filling, pause = "", True, _STATUS_FIRST
    while True:
        status = snapshot.status()
        if filling and str(status) != said:
            said = str(status)
            say(said)
        filling = status.checked < status.found or status.found == 0
        await asyncio.sleep(pause)
        pause = min(pause * 1.2, _STATUS_MOST)
