"""What one process does, which entrances it has, and what it is made of beside them."""

from collections.abc import Callable, Coroutine
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from fetcher.model import Lane
from fetchpool.config.settings import Settings

MOST_WORKERS: Final = 256

# An entrance of the API's on a port of its own; it is named by the setting that says which.
PROXY_POOL: Final = "api.proxy_pool_port"

FORWARD: Final = "forward"


Duty = Callable[[], Coroutine[Any, Any, None]]
"""What runs beside all else until the service stops."""


class Roles(msgspec.Struct, frozen=True, kw_only=True):
    """What one process does; `api` has the forward proxy beside it."""

    queue: bool = False
    pool: bool = False
    api: bool = False
    rpc: bool = False

    def of_worker(self, *, is_first: bool) -> "Roles":
        """What of these one of several does: the pool is looked after by one, as is XML-RPC."""
        return self if is_first else replace(self, pool=False, rpc=False)


ALL: Final = Roles(queue=True, pool=True, api=True, rpc=True)


def find_doors(settings: Settings, roles: Roles) -> dict[str, tuple[str, int]]:
    """Section of the settings -> host and port, of each entrance that the roles have."""
    api, forward, rpc = settings.api, settings.forward, settings.fetcher.rpc
    doors = {}
    if roles.api and api.enabled:
        doors["api"] = (api.host, api.port)
        if api.proxy_pool_port is not None:
            doors[PROXY_POOL] = (api.host, api.proxy_pool_port)
    if roles.api and forward.enabled:
        doors[FORWARD] = (forward.host, forward.port)
    if roles.rpc and rpc.enabled:
        doors["fetcher.rpc"] = (rpc.host, rpc.port)
    return doors


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """What one role, or one need of all, adds to the process."""

    lanes: list[Lane[Any, Any]] = []
    duties: list[Duty] = []
    # The stop begins: what of the lanes has not begun goes back at once.
    hand_back: Callable[[], None] | None = None
    # Says goodbye, once nothing of the lanes is under way.
    retire: Callable[[], Coroutine[Any, Any, object]] | None = None
