import logging

import pytest

from fetchpool.redis.presence import Presence


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_an_absence_is_said_once_and_so_is_its_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock = Clock()
    presence = Presence("redis://h/0", clock)
    presence.here()
    for _ in range(3):
        presence.gone("Connection refused")
    clock.now = 12.4
    for _ in range(3):
        presence.here()
    presence.gone("Connection refused")
    clock.now += 0.1
    presence.here()
    gone = "Redis at redis://h/0 is gone: Connection refused; what needs it waits until it is back"
    assert caplog.messages == [gone, "Redis is back after 12 s", gone, "Redis is back"]


def test_one_that_has_never_been_there_is_not_said_to_have_gone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    presence = Presence("redis://h/0")
    presence.gone("Connection refused")
    presence.here()
    assert caplog.messages == []


def test_a_quiet_one_leaves_it_to_another_process(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    presence = Presence("redis://h/0", quiet=True)
    presence.here()
    presence.gone("Connection refused")
    presence.here()
    assert caplog.messages == []
