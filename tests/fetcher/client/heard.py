"""A sink that remembers what it heard, and does what a test wants it to meanwhile."""

from collections.abc import Callable
from typing import Any, ClassVar

from fetcher.model import Response


def _nothing(_: Any) -> None:
    pass


class Heard:
    """`told` names the calls in order; each is remembered before its `on_` function is called."""

    whole: ClassVar[bool] = False
    short: ClassVar[bool] = False

    def __init__(self) -> None:
        self.told: list[str] = []
        self.heads: list[Response] = []
        self.chunks: list[bytes] = []
        self.ends: list[Response] = []
        self.on_head: Callable[[Response], Any] = _nothing
        self.on_body: Callable[[bytes], Any] = _nothing
        self.on_done: Callable[[Response], Any] = _nothing

    @property
    def heard(self) -> bytes:
        return b"".join(self.chunks)

    @property
    def order(self) -> list[str]:
        """`told`, but that pieces of the body in a row count once."""
        return [
            name for name, last in zip(self.told, ["", *self.told], strict=False) if name != last
        ]

    def head(self, response: Response) -> None:
        self.told.append("head")
        self.heads.append(response)
        self.on_head(response)

    def body(self, chunk: bytes) -> None:
        assert chunk
        self.told.append("body")
        self.chunks.append(chunk)
        self.on_body(chunk)

    def done(self, response: Response) -> None:
        self.told.append("done")
        self.ends.append(response)
        self.on_done(response)
