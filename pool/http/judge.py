"""GET /judge: tells its caller what it saw of him, signed, so that no proxy can make it up.

No key and no state: anybody may ask, as our own checkers do through every proxy.
"""

import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, ClassVar, Final, TypedDict

from msgspec import Meta
from tornado.routing import URLSpec

from fetcher.errors import RedisAway
from fetcher.http.handler import Handler
from pool.check.proof import MAX_ECHOED, NONCE, build_echo, find_caller
from pool.store import Checkers

# The secret changes only when Redis was emptied; this long a judge may be at odds with checkers.
_KNOWN_FOR: Final = 30.0  # seconds


class EchoSecret:
    """The pool's secret, read from Redis now and then; made there if there is none."""

    def __init__(self, checkers: Checkers, clock: Callable[[], float] = time.monotonic) -> None:
        self._checkers = checkers
        self._clock = clock
        self._secret: bytes | None = None
        self._read = 0.0

    async def read(self) -> bytes:
        """Raises RedisAway only if it was never known."""
        if self._secret is None or self._clock() - self._read > _KNOWN_FOR:
            try:
                self._secret = await self._checkers.secret(secrets.token_bytes(32))
            except RedisAway:
                if self._secret is None:
                    raise
            self._read = self._clock()
        return self._secret


class Echoed(TypedDict):
    """What `proof.build_echo` writes: the caller as he was seen, signed up to the signature."""

    address: str
    headers: list[Annotated[list[str], Meta(min_length=2, max_length=2)]]  # name and value
    nonce: str
    signature: str


class EchoHandler(Handler):
    """The caller's address and headers, his nonce, and our signature over all of it."""

    SUPPORTED_METHODS: ClassVar[tuple[str, ...]] = ("GET",)  # type: ignore[misc]
    asks_for_key = False

    def initialize(self, secret: Callable[[], Awaitable[bytes]]) -> None:
        self.secret = secret

    def compute_etag(self) -> None:
        """None: each answer is another."""

    async def get(self) -> None:
        self.set_header("Cache-Control", "no-store")
        nonce = self.argument("nonce")
        if not NONCE.fullmatch(nonce):
            self._refuse(
                400, "nonce: expected 1 to 64 letters, digits, - and _, as in /judge?nonce=a1"
            )
            return
        pairs = list(self.request.headers.get_all())
        if sum(len(name) + len(value) for name, value in pairs) > MAX_ECHOED:
            self._refuse(431, f"the headers are over {MAX_ECHOED} characters")
            return
        try:
            secret = await self.secret()
        except RedisAway as error:
            self._refuse(503, str(error))
            return
        address, headers = find_caller(self.request.remote_ip or "", pairs)
        self.set_header("Content-Type", "application/json")
        self.finish(build_echo(address, headers, nonce, secret))

    def _refuse(self, status: int, words: str) -> None:
        self.set_status(status)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(f"{words}\n")


def routes(secret: Callable[[], Awaitable[bytes]]) -> list[URLSpec]:
    """For the application; `secret` may raise RedisAway."""
    return [URLSpec("/judge", EchoHandler, {"secret": secret})]
