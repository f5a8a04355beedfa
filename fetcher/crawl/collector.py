"""Collector: a body as it comes, whole and with its codings, for those that keep what came."""

from collections.abc import Callable

from fetcher.client.chunks import Chunks, add_chunk
from fetcher.model import Result
from fetcher.run.path import Fetching


class Collector:
    """Receives one answer; `on_excess` is called as soon as there are more than `most` bytes of it
    (0: no limit)."""

    def __init__(self, most: int, on_excess: Callable[[], None]) -> None:
        self.has_begun = False
        self._most = most
        self._on_excess = on_excess
        self._size = 0
        self._chunks: Chunks = []

    @property
    def body(self) -> bytes:
        return b"".join(self._chunks)

    def begin(self, fetching: Fetching, result: Result) -> None:
        self.has_begun = True

    def chunk(self, data: bytes) -> None:
        self._size += len(data)
        if self._most and self._size > self._most:
            self._chunks = []
            self._on_excess()
        else:
            add_chunk(self._chunks, data)
