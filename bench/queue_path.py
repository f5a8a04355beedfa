"""The whole queue path, Redis in, fetch, Redis out, beside a bare loop of fetches."""

from functools import partial
from typing import Final

from bench.component import component
from bench.measure import Claim, Row, interleave, run_module
from bench.servers import nginx

ROUNDS: Final = 5
TASKS: Final = 60_000
FETCHES: Final = 20_000


def run(*, quick: bool = False) -> Row:
    part = 20 if quick else 1
    with nginx() as origin, component() as ours:
        ours.run(f"{origin.url}/page", 2000)
        peers = interleave(
            {
                "queue path": partial(ours.run, f"{origin.url}/page", TASKS // part),
                "tornado_curl": partial(
                    run_module, "bench.peers", "tornado_curl", origin.url, FETCHES // part
                ),
            },
            1 if quick else ROUNDS,
        )
    ratio = peers["queue path"].cpu / peers["tornado_curl"].cpu
    return Row(
        title="Queue path, Redis to Redis: CPU per task",
        claims=[Claim(what="CPU of tornado_curl", measured=ratio, limit=0.36, unit=" times")],
        peers=list(peers.values()),
        notes=["`main.py fetcher` with queue.maxsize 0; scheduler, processor, Redis elsewhere"],
    )
