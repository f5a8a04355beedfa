"""Waiting for an observable condition with a deadline: what tests use instead of sleeping."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

T = TypeVar("T")
INTERVAL = 0.005  # seconds between two looks: short against any time a test measures


def pause_behind(took: float) -> float:
    """Seconds between two looks of which one takes so many: whoever is looked at shall get on."""
    return max(INTERVAL, 2 * took)


@overload
async def wait_until(
    predicate: Callable[[], Awaitable[T]], timeout: float = 5.0, what: str = ""
) -> T: ...
@overload
async def wait_until(predicate: Callable[[], T], timeout: float = 5.0, what: str = "") -> T: ...
async def wait_until(
    predicate: Callable[[], T | Awaitable[T]], timeout: float = 5.0, what: str = ""
) -> T:
    """Return the first true value of `predicate` (a function or a coroutine function).

    Raises TimeoutError after `timeout` seconds; it names `what` and the last value seen.
    """
    deadline = time.monotonic() + timeout
    while True:
        began = time.monotonic()
        seen = predicate()
        value = await seen if inspect.isawaitable(seen) else seen
        if value:
            return value
        now = time.monotonic()
        if now >= deadline:
            name = what or getattr(predicate, "__qualname__", repr(predicate))
            raise TimeoutError(f"still waiting for {name} after {timeout:g} s: got {value!r}")
        await asyncio.sleep(pause_behind(now - began))
