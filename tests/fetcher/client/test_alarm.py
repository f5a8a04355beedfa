"""An alarm rings a while after it was last set, for another thread."""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from fetcher.client.alarm import (
    HAS_TIMERS,
    Alarm,
    KernelAlarm,
    TickingAlarm,
    build_alarm,
)

TIME = 0.2  # seconds

Build = Callable[[float], Alarm]

both = pytest.mark.parametrize(
    "build",
    [
        pytest.param(
            KernelAlarm,
            marks=pytest.mark.skipif(not HAS_TIMERS, reason="this system has no timerfd"),
        ),
        TickingAlarm,
    ],
)


@contextmanager
def heard(alarm: Alarm) -> Iterator["queue.Queue[float]"]:
    """When it rang, for as long as somebody listens."""
    rings: queue.Queue[float] = queue.Queue()
    over = threading.Event()

    def listen() -> None:
        alarm.wait()
        while not over.is_set():
            rings.put(time.monotonic())
            alarm.wait()

    listener = threading.Thread(target=listen)
    listener.start()
    try:
        yield rings
    finally:
        over.set()
        alarm.ring()
        listener.join()
        alarm.close()


@both
def test_it_rings_a_while_after_it_was_set_and_once(build: Build) -> None:
    alarm = build(TIME)
    with heard(alarm) as rings:
        for _ in range(2):
            set_at = time.monotonic()
            alarm.set()
            assert rings.get(timeout=10) - set_at >= TIME * 0.99
        with pytest.raises(queue.Empty):
            rings.get(timeout=3 * TIME)


@both
def test_it_rings_at_once_if_it_shall(build: Build) -> None:
    alarm = build(60.0)
    with heard(alarm) as rings:
        alarm.set()
        alarm.ring()
        rings.get(timeout=10)


@both
def test_who_sets_it_again_in_time_does_not_hear_it(build: Build) -> None:
    alarm = build(TIME)
    with heard(alarm) as rings:
        began = last = time.monotonic()
        longest = 0.0
        while last < began + 3 * TIME:
            alarm.set()
            now = time.monotonic()
            longest, last = max(longest, now - last), now
        assert rings.empty() or longest > TIME * 0.9  # a machine that stood still
        assert rings.get(timeout=10) >= last


def test_a_time_may_have_whole_seconds() -> None:
    alarm = build_alarm(1.25)
    with heard(alarm) as rings:
        alarm.set()
        began = time.monotonic()
        assert rings.get(timeout=10) - began > 1.2
