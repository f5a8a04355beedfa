"""What a process is before anything runs in it: its loop, its signals, its limit of open files, and
how often it looks for garbage."""

import asyncio
import contextlib
import gc
import logging
import os
import resource
import signal
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

import msgspec

from fetchpool.config.settings import Settings
from fetchpool.serve.interrupts import heeded

logger = logging.getLogger(__name__)

T = TypeVar("T")

# A transfer takes a socket, and perhaps one more while another connects; the rest is Redis,
# listeners and log files.
_FILES_PER_TRANSFER: Final = 2
_FILES_BESIDE: Final = 200

# New objects until the collector looks at them, and how often those that it left are looked at
# again; Python's own are 700, 10, 10. Garbage of 50,000 small objects is a few megabytes.
_COLLECT: Final = (5_000, 10, 10)


def run_on_loop(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine function on uvloop where it is installed, else on asyncio's own loop.

    Ctrl-C cancels it, and is KeyboardInterrupt once it has ended.
    """
    factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    with contextlib.suppress(ImportError):
        from uvloop import new_event_loop

        factory = new_event_loop
    with heeded(), asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main())


def collect_rarely() -> None:
    """Look for garbage among what is new, at most: for a service, when its modules are there.

    Nearly everything dies by its last reference. By Python's own numbers the collector took 30 us
    of each check of a proxy, and stopped the loop for 60 ms each time that it walked through a pool
    of 10,000; by these it takes 6. Workers that are forked share what was frozen.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT)


def raise_file_limit() -> int:
    """Set the soft limit of open files to the hard one; the limit in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return limit if limit != resource.RLIM_INFINITY else 1_000_000


def fit_windows(settings: Settings) -> Settings:
    """Windows cut to what the open-file limit can carry, with one warning.

    A descriptor that is not to be had looks like a dead proxy.
    """
    limit = raise_file_limit()
    room = max((limit - _FILES_BESIDE) // _FILES_PER_TRANSFER, 20)
    queue, checks = settings.fetcher.poolsize, settings.pool.check.concurrency
    wanted = settings.forward.max_connections or room
    # Clients of the forward proxy may have what the others leave, and a quarter in any case.
    clients = min(wanted, max(room - queue - checks, room // 4)) if settings.forward.enabled else 0
    room -= clients
    if queue + checks > room:
        share = room / (queue + checks)
        queue, checks = max(int(queue * share), 10), max(int(checks * share), 10)
    replace = msgspec.structs.replace
    fitted = replace(
        settings,
        fetcher=replace(settings.fetcher, poolsize=queue),
        pool=replace(settings.pool, check=replace(settings.pool.check, concurrency=checks)),
    )
    cut = [("fetcher.poolsize", queue), ("pool.check.concurrency", checks)] * (fitted != settings)
    if settings.forward.enabled and clients != settings.forward.max_connections:
        fitted = replace(fitted, forward=replace(fitted.forward, max_connections=clients))
        # Nobody has said how many there shall be: then as many as there is room for.
        cut += [("forward.max_connections", clients)] * (settings.forward.max_connections > 0)
    if cut:
        words = ", ".join(f"{name} is cut to {value}" for name, value in cut)
        logger.warning("%d files may be open: %s (raise the limit: ulimit -n)", limit, words)
    return fitted


def stop_on_signals(
    loop: asyncio.AbstractEventLoop,
    stop: asyncio.Event,
    at_once: Callable[[], None] = lambda: None,
) -> None:
    """The first SIGTERM or SIGINT asks for a stop, the second ends the process at once, behind
    `at_once`.

    Nothing is lost by that: leases run out, and their tasks go back to the queue.
    """

    def received(number: int) -> None:
        if stop.is_set():
            at_once()
            os._exit(128 + number)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, received, number)
