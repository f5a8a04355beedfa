from fetcher.model import Result, Timing
from fetcher.stats.meters import MOST, Meters, Totals
from fetcher.stats.phases import Histogram


def result(size: int = 0, **timing: float) -> Result:
    return Result(
        status_code=200, orig_url="", url="", content=b"x" * size, timing=Timing(**timing)
    )


def test_fetches_are_counted_by_how_they_ended_and_who_carried_them_out() -> None:
    meters = Meters()
    for _ in range(3):
        meters.fetched(result(10, total=1.0), 0.1, 5)
    meters.ended("answered", "http", result(), 0.0, 0)
    meters.ended("no proxy", "http", result(), 0.0, 0)
    meters.ended("answered", "ftp", result(1), 0.0, 7)
    totals = meters.read({})
    assert totals.counts == {
        "fetches\nanswered\nhttp": 4,
        "fetches\nno proxy\nhttp": 1,
        "fetches\nanswered\nftp": 1,
        "bytes": 53,
    }
    assert {name: sum(one.counts) for name, one in totals.histograms.items()} == {
        "lag": 0,
        "fetch\nqueue": 3,
        "fetch\ntotal": 3,
    }


def test_checks_and_tunnels_have_histograms_of_their_own() -> None:
    meters = Meters()
    meters.checks.record(Timing(connect=0.5, total=1.0))
    meters.tunnels.record(Timing(tls=0.5, connect=0.5))
    meters.lag.add(0.1)
    histograms = meters.read({}).histograms
    assert set(histograms) == {
        "lag", "check\nconnect", "check\ntotal", "tunnel\ntls", "tunnel\nconnect",
    }  # fmt: skip


def test_counters_gauges_and_what_others_keep_are_told_together() -> None:
    meters = Meters()
    meters.count("checks", "universal", "passed")
    meters.count("checks", "universal", "passed", by=2)
    meters.responses[2] += 4
    totals = meters.read({("memory",): 5.0, ("lanes", "queue"): 6.0}, errors=7.0)
    assert totals.gauges == {"memory": 5.0, "lanes\nqueue": 6.0}
    assert totals.counts["checks\nuniversal\npassed"] == 3
    assert totals.counts["responses\n2xx"] == 4
    assert totals.counts["errors"] == 7
    assert "responses\n5xx" not in totals.counts


def test_counters_are_limited_in_number() -> None:
    meters = Meters()
    for number in range(MOST + 1):
        meters.count("c", str(number))
    meters.count("c", "0")
    counts = meters.read({}).counts
    assert f"c\n{MOST - 1}" in counts
    assert f"c\n{MOST}" not in counts
    assert counts["c\n0"] == 2


def test_totals_are_added_up_but_for_the_gauges() -> None:
    mine = Totals({"a": 1.0, "b": 2.0}, {"h": Histogram([1], 1.0)}, {"g": 1.0})
    before = Totals({"b": 3.0, "c": 4.0}, {"h": Histogram([2], 2.0), "i": Histogram()}, {"g": 9.0})
    both = mine.plus(before)
    assert both.counts == {"a": 1.0, "b": 5.0, "c": 4.0}
    assert both.histograms == {"h": Histogram([3], 3.0), "i": Histogram()}
    assert both.gauges == {"g": 1.0}
    assert mine.counts == {"a": 1.0, "b": 2.0}
