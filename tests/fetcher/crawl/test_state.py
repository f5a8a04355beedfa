from datetime import UTC
from typing import Any

import pytest

from fetcher.crawl.model import Counts
from fetcher.crawl.state import PERIOD, Pace, State, Waiting, describe, estimate_rest, explain_rest

NOW = 1_796_040_000.0  # 12:00 UTC
SLOW = Waiting("slow.example", NOW + 7500, "429", 120)
LATE = Waiting("late.example", NOW + 9000)


def state(phase: Any = "running", **more: Any) -> State:
    counts: dict[str, int] = {
        key: more.pop(key) for key in ("queued", "running", "done", "hosts") if key in more
    }
    more = {"processes": 1} | more
    return State(name="mine", phase=phase, counts=Counts(**counts), **more)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (state("finished"), "finished"),
        (state("limited"), "stopped by a limit"),
        (state("limited", reason="--limit 10"), "stopped by a limit: --limit 10"),
        (state("stopped"), "stopped by hand: `crawl --resume mine` goes on"),
        (state("failed", reason="no space"), "failed: no space"),
        (state("paused"), "paused: `crawls continue mine` goes on"),
        (state(processes=0), "no process works on it: `crawl --resume mine` goes on"),
        (state("limited", reason="limit", limit=500), "stopped by a limit: --limit 500"),
        (state(), "reading the sources"),
        (state(queued=1), "fetching"),
        (state(running=1), "fetching"),
        (state(running=1, waiting=[SLOW]), "fetching; 1 host waits until 14:05"),
        (
            state(running=1, waiting=[SLOW], waiting_hosts=1200),
            "fetching; 1,200 hosts wait, the first until 14:05",
        ),
        (state(waiting=[SLOW]), "waiting for slow.example until 14:05: 429"),
        (state(waiting=[LATE]), "waiting for late.example until 14:30"),
        (state(waiting=[SLOW, SLOW]), "waiting for 2 hosts until 14:05"),
        (state(waiting=[SLOW, LATE]), "waiting for 2 hosts, the first until 14:05"),
        (state(waiting=[SLOW], waiting_hosts=3), "waiting for 3 hosts, the first until 14:05"),
    ],
)
def test_a_sentence_says_how_it_stands(given: State, sentence: str) -> None:
    assert describe(given, NOW, UTC) == sentence


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (state(queued=90, running=10, rate=5.0), 20.0),
        (state(queued=90, running=10, rate=5.0, limit=30, done=20), 2.0),
        (state(queued=90, running=10, rate=5.0, limit=1000, done=20), 20.0),
        (state(queued=90, running=10, rate=5.0, limit=20, done=21), None),
        (state(queued=90, rate=0.0), None),
        (state(queued=0, rate=5.0), None),
        (state("paused", queued=90, rate=5.0), None),
    ],
)
def test_the_rest_takes_as_long_as_what_is_known(given: State, seconds: float | None) -> None:
    assert estimate_rest(given) == seconds


def test_why_it_is_not_finished_is_told() -> None:
    given = state(running=1, queued=1300, hosts=2, waiting=[SLOW, LATE], waiting_hosts=4)
    assert explain_rest(given, NOW, UTC) == [
        "1 page is under way",
        "1,300 URLs are queued on 2 hosts",
        "slow.example waits until 14:05, 120 URLs: 429",
        "late.example waits until 14:30",
        "and 2 more hosts wait",
    ]
    assert explain_rest(state(), NOW, UTC) == []
    assert explain_rest(state("finished", queued=5), NOW, UTC) == []


def test_the_pace_is_that_of_the_last_period() -> None:
    pace = Pace()
    assert pace.add(0.0, 100) == 0.0
    assert pace.add(0.0, 100) == 0.0
    assert pace.add(10.0, 200) == 10.0
    assert pace.add(PERIOD, 400) == 10.0
    assert pace.add(PERIOD + 9.9, 400) == pytest.approx(300 / (PERIOD + 9.9))
    assert pace.add(PERIOD + 10.0, 800) == pytest.approx(600 / PERIOD)
    assert pace.add(2 * PERIOD + 10.0, 800) == 0.0


def test_totals_that_fall_are_no_pace() -> None:
    pace = Pace()
    pace.add(0.0, 100)
    assert pace.add(1.0, 50) == 0.0
