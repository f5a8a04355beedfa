"""Entries and snapshots of the pool, made by hand."""

import random

from fetcher.proxy import parse_proxy
from pool.model import Entry, Record
from pool.settings import Score
from pool.snapshot.snapshot import Snapshot

SCALE = Score()


def entry(member: str, score: float = 100, **known: object) -> Entry:
    return Entry(member, parse_proxy(member), score, Record(**known))  # type: ignore[arg-type]


def numbered(count: int, score: float, first: int = 0) -> list[Entry]:
    return [entry(f"192.0.2.1:{1000 + first + i}", score) for i in range(count)]


def snapshot(*entries: Entry) -> Snapshot:
    filled = Snapshot(SCALE)
    for one in entries:
        filled.put(one)
    return filled


def draws(seed: int = 1) -> random.Random:
    return random.Random(seed)
