from datetime import UTC
from typing import Any

import pytest

from fetcher.crawl.model import Counts
from fetcher.crawl.state import State, Waiting
from fetcher.crawl.summary import HostSum, Summary
from fetchpool.commands.crawl_lines import (
    SHOWN,
    build_line,
    build_list,
    build_show,
    build_summary,
)
from fetchpool.commands.tables import Table, plain

NOW = 1_796_040_000.0  # 12:00 UTC
HOSTILE = "\x1b[2Jgone\r\n"


def state(phase: Any = "running", name: str = "mine", **more: Any) -> State:
    given = {"processes": 1, "rate": 4.25, "started": NOW - 100} | more
    return State(name=name, phase=phase, **given)


def lines(blocks: list) -> list[str]:
    return [line for block in blocks for line in plain(block)]


def test_the_line_says_how_it_stands() -> None:
    counts = Counts(queued=1290, running=10, done=18_225, failed=3, hosts=67, bytes=167_000_000)
    assert build_line(state(counts=counts), NOW, UTC) == (
        "4.2 pages/s  18,225 done  1,300 queued  3 failed  67 hosts  167 MB  5 min 6 s left"
    )


def test_the_line_begins_with_what_it_waits_for() -> None:
    waiting = [Waiting("a.example", NOW + 7500, "429")]
    counts = Counts(queued=5, hosts=1)
    got = build_line(state(counts=counts, waiting=waiting, rate=0.0), NOW, UTC)
    assert got == (
        "waiting for a.example until 14:05: 429  0 done  5 queued  0 failed"
        "  1 host (1 waiting)  0 bytes"
    )
    paused = build_line(state("paused", counts=Counts(running=1)), NOW, UTC)
    assert paused.startswith("paused: `crawls continue mine` goes on  ")
    between = build_line(state(counts=counts), NOW, UTC)
    assert between.startswith("4.2 pages/s  0 done  5 queued")


def test_the_summary_has_all_that_became_of_it() -> None:
    counts = Counts(done=5, failed=1, bytes=1000, skipped=3, items=2, callback_errors=1)
    summary = Summary(
        statuses={200: 5, 599: 1},
        types={"text/html": 5},
        skips={"scope": 2, "new_word": 1},
        errors={HOSTILE: 1},
        latencies=[5] + [0] * 18,
        largest=[HostSum(name="a.example", pages=5, ms=100), HostSum(name="b.example", failed=1)],
        slowest=[HostSum(name=HOSTILE, pages=5, ms=100)],
    )
    got = lines(build_summary(state("finished", counts=counts, ended=NOW), summary, NOW + 9, UTC))
    assert got == [
        "mine: finished",
        "5 pages in 1 min 40 s (0.06 a second), 1.00 kB; 1 failed, 3 skipped, 0 redirects,"
        " 0 tried again, 0 unchanged",
        "half of the answers within 0 ms, 95 % within 1 ms",
        "2 items of the callback, 1 error in it",
        *("status     pages", "200            5", "no answer      1"),
        *("media type  pages", "text/html       5"),
        "skipped because               URLs",
        "it lies outside of the scope     2",
        "new_word                         1",
        *("error       pages", "?[2Jgone??      1"),
        "largest hosts  pages  failed    bytes   mean",
        "a.example          5       0  0 bytes  20 ms",
        "b.example          0       1  0 bytes      -",
        "slowest hosts  pages  failed    bytes   mean",
        "?[2Jgone??         5       0  0 bytes  20 ms",
    ]


def test_of_a_single_host_there_is_one_table() -> None:
    hosts = [HostSum(name="a.example", pages=5, ms=100)]
    got = lines(build_summary(state(), Summary(largest=hosts, slowest=hosts), NOW, UTC))
    assert [line.split()[0] for line in got[2:]] == ["largest", "a.example"]


def test_the_summary_of_nothing_is_short() -> None:
    got = lines(build_summary(state("failed", started=NOW), Summary(), NOW, UTC))
    assert got == [
        "mine: failed",
        "0 pages in 0 s, 0 bytes; 0 failed, 0 skipped, 0 redirects, 0 tried again, 0 unchanged",
    ]


@pytest.mark.parametrize("number", [SHOWN, SHOWN + 1, SHOWN + 2])
def test_a_table_of_the_summary_is_short(number: int) -> None:
    summary = Summary(
        errors={f"e{n:02}": 100 - n for n in range(number)},
        largest=[HostSum(name=f"h{n}", pages=1) for n in range(number)],
    )
    errors, hosts = build_summary(state(), summary, NOW, UTC)[2:]
    assert isinstance(errors, Table)
    assert isinstance(hosts, Table)
    more = number - SHOWN
    expected = [(f"{more} others", str(sum(90 - n for n in range(more))))] if more else []
    assert errors.rows[SHOWN:] == expected
    assert len(hosts.rows) == SHOWN


def test_the_list_has_the_newest_first() -> None:
    old = state("stopped", "old", started=NOW - 86_400, processes=0)
    got = lines(
        build_list([old, state(counts=Counts(running=1)), state("failed", "new")], NOW, UTC)
    )
    assert got == [
        "crawl  started       processes  done  queued  failed    bytes  state",
        "mine   11:58                 1     0       1       0  0 bytes  fetching",
        "new    11:58                 1     0       0       0  0 bytes  failed",
        "old    29 Nov 12:00          0     0       0       0  0 bytes"
        "  stopped by hand: `crawl --resume old` goes on",
    ]


def test_of_no_crawls_there_is_no_list() -> None:
    assert build_list([], NOW, UTC) == ["there are no crawls"]
    assert "-" in plain(build_list([state(started=0.0)], NOW, UTC)[0])[1].split()


def test_why_it_is_not_finished_is_shown() -> None:
    waiting = [Waiting("a.example", NOW + 7500, HOSTILE, 5)]
    given = state(counts=Counts(queued=5, hosts=1), waiting=waiting)
    got = lines(build_show(given, Summary(), NOW, UTC))
    assert got[0].startswith("waiting for a.example until 14:05: ?[2Jgone??  4.2 pages/s")
    assert got[1:3] == [
        "  5 URLs are queued on 1 host",
        "  a.example waits until 14:05, 5 URLs: ?[2Jgone??",
    ]
    assert got[3].startswith("mine: waiting for")


def test_of_one_that_has_ended_the_summary_is_shown() -> None:
    got = build_show(state("finished"), Summary(), NOW, UTC)
    assert got == build_summary(state("finished"), Summary(), NOW, UTC)
