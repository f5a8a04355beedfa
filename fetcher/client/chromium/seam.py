"""What the browser's side knows of the listeners through which its pages load.

A decision module: protocols. The forward proxy has them.
"""

from collections.abc import Collection
from typing import Protocol

from fetcher.model import Egress, Exit


class Refusal(Protocol):
    """Why nothing came of a request."""

    @property
    def status(self) -> int:
        """Of HTTP, as a proxy says it."""

    @property
    def error(self) -> str:
        """RFC 9209's word for it."""

    @property
    def sentence(self) -> str: ...


class Fate(Protocol):
    """How the last request to a target ended: it left by `exit`, or was `refused`."""

    @property
    def exit(self) -> Exit | None: ...
    @property
    def refused(self) -> Refusal | None: ...
    @property
    def tries(self) -> int:
        """Exits that were taken."""


class Listener(Protocol):
    """A proxy on 127.0.0.1 for one context."""

    @property
    def port(self) -> int: ...
    @property
    def is_spent(self) -> bool:
        """Whether the page has had as many bytes as it may, and gets no more."""

    def fate(self, url: str) -> Fate | None:
        """Of the last request to the host and port of `url`."""

    def distrust(self, url: str) -> bool:
        """The exit of the last request to the host and port of `url` is not to be used again:
        whether it was one of several."""

    async def close(self) -> None:
        """Everything under way through it stops."""


class Listeners(Protocol):
    async def open(
        self, egress: Egress, url: str, block: Collection[str], max_bytes: int
    ) -> Listener:
        """For the page at `url`. Nothing is let through to the hosts in `block`, nor more than
        `max_bytes` (0: no limit)."""
