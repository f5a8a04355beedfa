"""The routes of what is open: look at the tunnels of all workers, and close one."""

from typing import ClassVar, TypedDict

from tornado.routing import URLSpec

from fetcher.errors import RedisAway
from fetcher.forward.tunnels import LIMIT, LIMIT_MOST, Everywhere
from fetcher.http.handler import OwnHandler


class _Tunnels(OwnHandler):
    def initialize(self, tunnels: Everywhere) -> None:
        self.tunnels = tunnels


class TunnelsHandler(_Tunnels):
    """GET /api/tunnels: those that are open, oldest first; the fields are those of `Found`."""

    SUPPORTED_METHODS: ClassVar[tuple[str, ...]] = ("GET", "HEAD")  # type: ignore[misc]
    parameters = {"GET": ("limit",)}  # noqa: RUF012

    async def get(self) -> None:
        text = self.argument("limit") or str(LIMIT)
        limit = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
        if not 1 <= limit <= LIMIT_MOST:
            self.refuse(400, f"limit: expected 1 to {LIMIT_MOST}, got {text[:40]!r}")
            return
        try:
            found = await self.tunnels.find(limit)
        except RedisAway as error:
            self.refuse(503, str(error))
            return
        self.write_packed(found)

    async def head(self) -> None:
        await self.get()


class Closed(TypedDict):
    """A tunnel that was open."""

    closed: str


class TunnelHandler(_Tunnels):
    """DELETE /api/tunnels/ID: both its ends are cut off. A plain request is none."""

    SUPPORTED_METHODS: ClassVar[tuple[str, ...]] = ("DELETE",)  # type: ignore[misc]

    async def delete(self, name: str) -> None:
        try:
            was_there = await self.tunnels.close(name)
        except RedisAway as error:
            self.refuse(503, str(error))
            return
        if was_there:
            self.write_json(Closed(closed=name))
        elif was_there is None:
            self.refuse(504, f"the worker that has {name[:100]} did not answer: try it again")
        else:
            self.refuse(404, f"no tunnel {name[:100]} is open: GET /api/tunnels lists those")


def routes(tunnels: Everywhere) -> list[URLSpec]:
    """For the application, each once."""
    given = {"tunnels": tunnels}
    return [
        URLSpec(r"/api/tunnels", TunnelsHandler, given),
        URLSpec(r"/api/tunnels/(.+)", TunnelHandler, given),
    ]
