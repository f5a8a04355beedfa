"""How long a lone task takes on an idle component, over a fetch without any."""

import time
from statistics import median
from typing import Final

import pycurl

from bench.component import IN, OUT, Component, component
from bench.measure import Claim, Row
from bench.servers import nginx

TASKS: Final = 200
PAUSE: Final = 0.02  # seconds between two tasks, so that it is idle


def run(*, quick: bool = False) -> Row:
    count = TASKS // 5 if quick else TASKS
    with nginx() as origin, component() as ours:
        through = median(_task(ours, f"{origin.url}/page") for _ in range(count))
        curl = pycurl.Curl()
        curl.setopt(pycurl.URL, f"{origin.url}/page")
        curl.setopt(pycurl.WRITEFUNCTION, lambda chunk: None)
        direct = median(_fetch(curl) for _ in range(count))
        curl.close()
    return Row(
        title="A lone task on an idle component",
        claims=[
            Claim(what="median of a fetch on a kept connection", measured=through / direct,
                  limit=6.0, unit=" times"),
        ],
        notes=[
            f"from RPUSH until BLPOP has the result: {through * 1000:.2f} ms;"
            f" a fetch on a kept connection: {direct * 1000:.2f} ms; pyspider: 62 to 87 ms"
        ],
    )  # fmt: skip


def _task(ours: Component, url: str) -> float:
    time.sleep(PAUSE)  # noqa: TID251 - there is no loop here
    message = ours.task(url)
    began = time.perf_counter()
    ours.redis.rpush(IN, message)
    if ours.redis.blpop([OUT], 10) is None:
        raise TimeoutError("no result within 10 s")
    return time.perf_counter() - began


def _fetch(curl: pycurl.Curl) -> float:
    time.sleep(PAUSE)  # noqa: TID251 - there is no loop here
    began = time.perf_counter()
    curl.perform()
    return time.perf_counter() - began
