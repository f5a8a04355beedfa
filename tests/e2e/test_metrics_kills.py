"""Workers that are killed over and over, and what /metrics tells meanwhile.

`make test` kills 6 times, `make soak` 100 times. A worker that is killed soon is replaced late, so
there are more of them in the long version.
"""

import http.client
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.origin import Origin, page
from tests.e2e.service import Answer, ServiceProcess
from tests.e2e.test_workers import find_workers, is_alive
from tests.redis_server import poll

KILLS, LONG = 6, 100
WORKERS, MANY = 2, 8

Series = tuple[str, tuple[tuple[str, str], ...]]
"""A name with its labels."""


class Told(NamedTuple):
    """One page of /metrics."""

    all: set[Series]
    growing: dict[Series, float]  # counters, and the parts of histograms


class Watcher:
    """Asks the service, whichever worker answers, and holds each page to those before it."""

    def __init__(self, service: ServiceProcess) -> None:
        self._service = service
        self.pages = 0
        self.known: set[Series] = set()  # once they are all there: there may be no others
        self.highest: dict[Series, float] = {}
        self.is_warm = False

    def get(self, path: str) -> Answer:
        """As a client does whose connection was that of a worker that has been killed."""
        for _ in range(20):
            try:
                return self._service.get(path)
            except (ConnectionError, http.client.HTTPException):
                time.sleep(0.05)
        raise AssertionError("nobody answers any more")

    def scrape(self) -> Told:
        answer = self.get("/metrics")
        assert answer.status == 200
        told = read_page(answer.body.decode())
        self.pages += 1
        for series, value in self.highest.items():
            assert told.growing.get(series, -1.0) >= value, f"{series} was {value} before"
        self.highest = told.growing
        if self.is_warm:
            assert not told.all - self.known
        return told


def read_page(text: str) -> Told:
    told = Told(set(), {})
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            series = sample.name, tuple(sorted(sample.labels.items()))
            told.all.add(series)
            if family.type in ("counter", "histogram"):
                told.growing[series] = sample.value
    return told


def use(watcher: Watcher, url: str) -> None:
    """What counts: fetches, and answers of the API of two kinds."""
    for _ in range(10):
        assert watcher.get(f"/fetch?proxy=direct&url={url}").status == 200
        assert watcher.get("/unknown").status == 404


def workers_with(told: Told, name: str, **labels: str) -> set[str]:
    found = (dict(words) for one, words in told.growing if one == name)
    return {words["worker"] for words in found if labels.items() <= words.items()}


def has_all(told: Told, count: int) -> bool:
    """Whether each worker has counted all that is going to be counted."""
    names = {str(number) for number in range(1, count + 1)}
    codes = [workers_with(told, "fetchpool_http_responses_total", code=c) for c in ("2xx", "4xx")]
    phases = {dict(words).get("phase") for one, words in told.all if one.endswith("_bucket")}
    return all(one == names for one in codes) and {"connect", "first_byte"} <= phases


def killing(service: ServiceProcess, kills: int, workers: int) -> Iterator[None]:
    """Kills one after another, at least one of them staying; yields until it is the next's turn."""
    for _ in range(kills):
        deadline = time.monotonic() + 60
        while len(alive := [*filter(is_alive, find_workers(service))]) <= workers // 2:
            assert time.monotonic() < deadline, "no worker is replaced any more"
            yield
        os.kill(alive[0], signal.SIGKILL)  # the one that was started first
        yield


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_no_counter_falls_and_no_series_is_added_by_workers_that_are_killed(
    tmp_path: Path, scale: int
) -> None:
    kills, workers = (KILLS, WORKERS) if scale == 1 else (LONG, MANY)
    service = ServiceProcess(
        tmp_path,
        "--workers",
        str(workers),
        "api",
        api={"port": 0, "allow_private": True},
        forward={"enabled": False},
    )
    with Origin(lambda ask: page("hello")) as origin, service.start() as one:
        watcher = Watcher(one)
        deadline = time.monotonic() + 60
        told = watcher.scrape()
        while not has_all(told, workers):
            assert time.monotonic() < deadline, sorted(told.growing)
            use(watcher, origin.url())
            told = watcher.scrape()
        watcher.known, watcher.is_warm = told.all, True
        warm = watcher.pages
        for _ in killing(one, kills, workers):
            use(watcher, origin.url())
            watcher.scrape()
        poll(lambda: one.said.count("ended by SIGKILL") == kills, "all to be missed")
        poll(lambda: len(find_workers(one)) == workers, "the last to be replaced", 60)
        poll(lambda: watcher.scrape().all == watcher.known, "its gauges to be told", 60)
        assert watcher.pages - warm >= kills
        assert "Traceback" not in one.said
