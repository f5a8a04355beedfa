"""The accounts of the sources, and whose turn it is to harvest one."""

from typing import Final

import msgspec
from redis.asyncio import Redis

from fetcher.redis.call import call
from pool.model import SourceAccount, Validators
from pool.store.calls import to_bytes, to_ms, to_text
from pool.store.cleaning import clean_account

_ACCOUNT: Final = msgspec.msgpack.Decoder(SourceAccount)
_VALIDATORS: Final = msgspec.msgpack.Decoder(dict[str, Validators])
_ENCODER: Final = msgspec.msgpack.Encoder()


class Sources:
    """The accounts of the sources, and whose turn it is to harvest one. Raises RedisAway."""

    def __init__(self, client: Redis, prefix: str = "fetchpool") -> None:
        self._client = client
        self._accounts = f"{prefix}:sources"
        self._prefix = f"{prefix}:source"
        self._validators = f"{prefix}:validators"

    async def claim(self, name: str, seconds: float, version: str = "") -> bool:
        """Whether nobody has harvested it lately, nor is about to; if so, it is ours for `seconds`.

        A pause binds no other `version` of the declaration than the one that brought it about.
        """
        key, free = f"{self._prefix}:{name}", max(to_ms(seconds), 1)
        if await call(self._client.set(key, b"", nx=True, px=free)):
            return True
        held = await call(self._client.get(key))
        if not held or to_text(held) == version:
            return False
        # Of several who have seen that, one alone is told the old value.
        return bool(await call(self._client.set(key, b"", xx=True, get=True, px=free)))

    async def renew(self, name: str, seconds: float) -> None:
        """What we have claimed is ours for so long from now on."""
        await call(self._client.pexpire(f"{self._prefix}:{name}", max(to_ms(seconds), 1)))

    async def pause(self, name: str, seconds: float, version: str = "") -> None:
        """Nobody who goes by this `version` harvests it for so long; without one, nobody at all."""
        key = f"{self._prefix}:{name}"
        await call(self._client.set(key, to_bytes(version), px=max(to_ms(seconds), 1)))

    async def give_back(self, name: str) -> None:
        """It was not harvested after all."""
        await call(self._client.delete(f"{self._prefix}:{name}"))

    async def account(self, name: str) -> SourceAccount:
        return _account(await call(self._client.hget(self._accounts, name)))

    async def accounts(self) -> dict[str, SourceAccount]:
        rows = await call(self._client.hgetall(self._accounts))
        return {to_text(name): _account(raw) for name, raw in rows.items()}

    async def save(self, name: str, account: SourceAccount) -> None:
        await call(self._client.hset(self._accounts, name, _ENCODER.encode(account)))

    async def validators(self, name: str) -> dict[str, Validators]:
        """Those of its pages, by whatever they were remembered by."""
        raw = await call(self._client.get(f"{self._validators}:{name}"))
        try:
            return _VALIDATORS.decode(raw) if raw else {}
        except msgspec.MsgspecError:
            return {}

    async def remember(self, name: str, pages: dict[str, Validators], seconds: float) -> None:
        """These instead of those that were remembered, for so long."""
        key = f"{self._validators}:{name}"
        if not pages:
            await call(self._client.delete(key))
            return
        await call(self._client.set(key, _ENCODER.encode(pages), px=max(to_ms(seconds), 1)))


def _account(raw: bytes | None) -> SourceAccount:
    try:
        return clean_account(_ACCOUNT.decode(raw)) if raw else SourceAccount()
    except msgspec.MsgspecError:
        return SourceAccount()
