"""How the pool's store speaks to Redis: one unit of time, one spelling, one size of batch."""

from collections.abc import Iterator, Sequence
from typing import Final, TypeVar

BATCH: Final = 1000  # items of one call: a script of that size blocks Redis for about 2 ms

T = TypeVar("T")


def to_ms(seconds: float) -> int:
    return round(seconds * 1000)


def to_text(raw: bytes) -> str:
    # What others wrote may be no UTF-8; it must find its way back to the same bytes.
    return raw.decode("utf-8", "surrogateescape")


def to_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def batches(items: Sequence[T], n: int = BATCH) -> Iterator[list[T]]:
    return (list(items[i : i + n]) for i in range(0, len(items), n))
