"""Roster: the tunnels of all workers, each of which tells its own when one is asked.

Nothing is written down for that: while nobody looks, it costs nothing. All listen to one channel,
and each to one of its own on which answers come; so whoever asks knows from Redis how many heard
him, and waits for no more, and for none longer than `PATIENCE`.
"""

import asyncio
import logging
import secrets
from typing import Any, Final

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from fetcher.errors import RedisAway
from fetcher.forward.tunnels import LIMIT_MOST, WORKER, Found, Tunnels
from fetcher.redis.call import call

logger = logging.getLogger(__name__)

PATIENCE: Final = 0.4  # seconds for the answers of the others
RETRY: Final = 1.0  # seconds until a lost connection is made again


class _Find(msgspec.Struct, tag="find", frozen=True):
    sender: str
    ask: str
    limit: int


class _Close(msgspec.Struct, tag="close", frozen=True):
    sender: str
    ask: str
    name: str


class _Has(msgspec.Struct, tag="has", frozen=True):
    ask: str
    found: Found


class _Closed(msgspec.Struct, tag="closed", frozen=True):
    ask: str
    was_there: bool


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(_Find | _Close | _Has | _Closed).decode


class _Asked:
    """One who waits for `missing` answers."""

    def __init__(self) -> None:
        self.answers: list[Any] = []
        self.missing: int | None = None  # not known yet
        self.done = asyncio.Event()

    def hear(self, answer: Any) -> None:
        self.answers.append(answer)
        self.look()

    def look(self) -> None:
        if self.missing is not None and len(self.answers) >= self.missing:
            self.done.set()


class Roster:
    """`listener` is a client for commands that wait. `run` has to be under way."""

    def __init__(self, redis: Redis, listener: Redis, prefix: str, tunnels: Tunnels) -> None:
        self._redis = redis
        self._listener = listener
        self._all = f"{{{prefix}:forward}}:roster"
        self._own = self._channel(tunnels.worker)
        self._tunnels = tunnels
        self._asked: dict[str, _Asked] = {}
        self._listens = asyncio.Event()

    def _channel(self, worker: str) -> str:
        return f"{self._all}:{worker}"

    async def find(self, limit: int) -> Found:
        """Raises `RedisAway`."""
        own = self._tunnels.find(limit)
        ask = secrets.token_hex(8)
        message = _Find(self._tunnels.worker, ask, limit)
        answers, silent = await self._ask(self._all, ask, message, but=1)
        found = [own, *(answer.found for answer in answers if isinstance(answer, _Has))]
        tunnels = [tunnel for one in found for tunnel in one.tunnels]
        tunnels.sort(key=lambda tunnel: -tunnel.age)
        total = sum(one.total for one in found)
        return Found(total=total, tunnels=tunnels[:limit], silent=silent)

    async def close(self, name: str) -> bool | None:
        """Raises `RedisAway`."""
        worker = name[:WORKER]
        if worker == self._tunnels.worker:
            return self._tunnels.close(name)
        if not worker.isalnum():
            return False
        ask = secrets.token_hex(8)
        message = _Close(self._tunnels.worker, ask, name)
        answers, silent = await self._ask(self._channel(worker), ask, message)
        if silent:
            return None
        return any(isinstance(answer, _Closed) and answer.was_there for answer in answers)

    async def _ask(
        self, channel: str, ask: str, message: _Find | _Close, *, but: int = 0
    ) -> tuple[list[Any], int]:
        """The answers of all who hear it, `but` ourselves, and how many are missing."""
        asked = self._asked[ask] = _Asked()
        try:
            async with asyncio.timeout(PATIENCE):
                await self._listens.wait()
                heard = await call(self._redis.publish(channel, _encode(message)))
                asked.missing = heard - but
                asked.look()
                await asked.done.wait()
        except TimeoutError:
            if asked.missing is None:
                raise RedisAway(f"Redis did not answer within {PATIENCE:g} s") from None
        finally:
            del self._asked[ask]
        return asked.answers, max(0, asked.missing - len(asked.answers))

    async def run(self) -> None:
        """Hear those who ask, until cancelled."""
        while True:
            try:
                await self._listen()
            except (RedisError, OSError) as error:
                logger.debug("tunnels of other workers: %s", error)
            await asyncio.sleep(RETRY)

    async def _listen(self) -> None:
        pubsub = self._listener.pubsub(ignore_subscribe_messages=True)
        try:
            await pubsub.subscribe(self._all, self._own)
            while True:
                # The first is what confirms the subscription, and None.
                message = await pubsub.get_message(timeout=None)
                if pubsub.subscribed:
                    self._listens.set()
                if message is not None:
                    await self._hear(message["data"])
        finally:
            self._listens.clear()
            await pubsub.aclose()  # type: ignore[no-untyped-call]

    async def _hear(self, packed: bytes) -> None:
        try:
            message = _decode(packed)
        except msgspec.MsgspecError as error:
            logger.debug("on the channel of the tunnels: %s", error)
            return
        if isinstance(message, _Has | _Closed):
            asked = self._asked.get(message.ask)
            if asked is not None:
                asked.hear(message)
            return
        if message.sender == self._tunnels.worker:
            return
        answer: _Has | _Closed
        if isinstance(message, _Find):
            limit = min(max(message.limit, 0), LIMIT_MOST)
            answer = _Has(message.ask, self._tunnels.find(limit))
        else:
            answer = _Closed(message.ask, self._tunnels.close(message.name))
        await self._redis.publish(self._channel(message.sender), _encode(answer))
