"""Throughput when the origin takes its time: what the queue path loses of poolsize / latency.

Or of what it does where nothing takes time, if that is less: what limits it then is its CPU.
"""

from typing import Final

from bench.component import component
from bench.measure import Claim, Row, summarise
from bench.servers import nginx, slow_origin

LATENCY: Final = 0.12  # seconds
POOLSIZES: Final = (100, 1000)
SECONDS: Final = 5  # of each run
COUNT: Final = 60_000  # where nothing takes time
ROUNDS: Final = 3


def run(*, quick: bool = False) -> Row:
    row = Row(
        title=f"Throughput at {LATENCY * 1000:.0f} ms latency",
        notes=[
            "Redis to Redis, 1 kB page; the most is poolsize / latency, or the rate at once if"
            " that is less; pyspider at this latency: 0.6 of poolsize / latency"
        ],
    )
    with nginx() as quick_origin, slow_origin(LATENCY) as origin:
        for poolsize in POOLSIZES:
            most = poolsize / LATENCY
            count = int(most * (1 if quick else SECONDS))
            at_once, late = [], []
            with component(poolsize=poolsize) as ours:
                ours.run(f"{origin.url}/page", poolsize, ahead=count)
                for _ in range(1 if quick else ROUNDS):
                    late.append(ours.run(f"{origin.url}/page", count, ahead=count))
                    few = COUNT // 10 if quick else COUNT
                    at_once.append(ours.run(f"{quick_origin.url}/page", few))
            slow = summarise(f"poolsize {poolsize}, {LATENCY * 1000:.0f} ms", late)
            fast = summarise(f"poolsize {poolsize}, at once", at_once)
            row.peers += [slow, fast]
            row.claims.append(
                Claim(
                    what=f"poolsize {poolsize}: the most",
                    measured=slow.rate / min(most, fast.rate), limit=0.9, at_least=True,
                    unit=" of it",
                )
            )  # fmt: skip
    return row
