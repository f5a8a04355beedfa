"""Capture: what a page loads, kept beside it: bodies of XHR and fetch answers, say.

A driver. Bodies are read as they come, since the browser forgets them; so many, and so many bytes.
"""

import asyncio
import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from fetcher.rendering import Captured

if TYPE_CHECKING:
    import playwright.async_api as api

logger = logging.getLogger(__name__)

MOST: Final = 100  # answers
MOST_BYTES: Final = 16 << 20  # of all bodies together
LAST: Final = 1.0  # seconds for those that are still coming at the end


class Capture:
    """Of one page. `types` as browsers name them; ``xhr`` is fetch, too."""

    def __init__(self, page: "api.Page", types: Iterable[str]) -> None:
        wanted = set(types)
        self._types = wanted | {"xhr", "fetch"} if wanted & {"xhr", "fetch"} else wanted
        self._left = MOST_BYTES
        self._found: list[Captured | None] = []  # in the order in which they came
        self._reading: set[asyncio.Task[None]] = set()
        page.on("response", self._hear)

    def _hear(self, response: "api.Response") -> None:
        if response.request.resource_type not in self._types or len(self._found) >= MOST:
            return
        self._found.append(None)
        task = asyncio.get_running_loop().create_task(self._keep(len(self._found) - 1, response))
        self._reading.add(task)
        task.add_done_callback(self._reading.discard)

    async def _keep(self, place: int, response: "api.Response") -> None:
        try:
            body = await response.body()
        except Exception as error:  # noqa: BLE001 - it has none, or the browser has forgotten it
            logger.debug("what was to be captured has no body: %s", error)
            body = b""
        kept = body[: self._left]
        self._left -= len(kept)
        self._found[place] = Captured(
            url=_whole(response.url),
            status=response.status,
            type=_whole(response.headers.get("content-type", "")),
            content=kept,
            cut=len(kept) < len(body),
        )

    async def finish(self) -> tuple[Captured, ...]:
        """What there is, after a moment for the last."""
        if self._reading:
            await asyncio.wait(list(self._reading), timeout=LAST)
        for task in list(self._reading):
            task.cancel()
        return tuple(one for one in self._found if one is not None)


def _whole(text: str) -> str:
    """Without halves of characters, which have no bytes."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
