"""Members of a set, checks of them, and the keys beside it."""

from collections.abc import Sequence
from typing import Any

from fetcher.proxy import parse_proxy
from pool.model import Candidate, Check, Checked, Kind, Record, Settled
from pool.score import next_record
from pool.settings import Pool
from pool.store import BATCH, Store

KEY = "proxies:universal"
SOCKS = f"{KEY}:socks"
POOL = Pool()
HOUR = 3600.0


def candidates(*members: str, **known: Any) -> list[Candidate]:
    return [Candidate(parse_proxy(member), Record(**known)) for member in members]


def many(count: int, first: int = 0) -> list[str]:
    return [f"192.0.{i // 250}.{i % 250}:8080" for i in range(first, first + count)]


def ended(checks: Sequence[Check], kind: Kind, delay: float = HOUR) -> list[Checked]:
    return [
        Checked(check, kind, next_record(check.record, kind, now=1.0, seconds=0.5), delay)
        for check in checks
    ]


def side(name: str, key: str = KEY) -> str:
    return f"fetchpool:{{{key}}}:{name}"


async def check_all(store: Store, kind: Kind, delay: float = 0.0) -> Settled:
    return await store.settle(ended(await store.claim(BATCH, HOUR), kind, delay))
