import pytest

from fetcher.client.chunks import SMALL
from fetcher.crawl.collector import Collector


def collect(most: int, chunks: list[bytes]) -> tuple[Collector, int]:
    """The collector, and how often it said that there is too much."""
    calls: list[None] = []
    collector = Collector(most, lambda: calls.append(None))
    for chunk in chunks:
        collector.chunk(chunk)
    return collector, len(calls)


@pytest.mark.parametrize(
    ("most", "size", "is_excess"),
    [(100, 99, False), (100, 100, False), (100, 101, True), (0, 100_000, False)],
)
@pytest.mark.parametrize("piece", [1, 7, 100, 100_000])
def test_a_body_is_whole_up_to_its_limit(most: int, size: int, is_excess: bool, piece: int) -> None:
    body = bytes(range(256)) * 400
    body = body[:size]
    collector, calls = collect(most, [body[at : at + piece] for at in range(0, size, piece)])
    assert bool(calls) is is_excess
    assert collector.body == (b"" if is_excess else body)


def test_what_comes_after_the_limit_is_kept_no_more() -> None:
    collector, calls = collect(SMALL, [b"x" * SMALL, b"y", b"z" * 10 * SMALL])
    assert calls == 2
    assert collector.body == b""


def test_a_body_in_one_piece_is_not_copied() -> None:
    body = b"x" * 10 * SMALL
    collector, _ = collect(0, [body])
    assert collector._chunks[0] is body


def test_nothing_has_come_yet() -> None:
    collector, calls = collect(10, [])
    assert (collector.body, collector.has_begun, calls) == (b"", False, 0)
