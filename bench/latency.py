"""Throughput when the origin takes its time: what the queue path loses of poolsize / latency."""

from bench.component import component
from bench.measure import Claim, Row, summarise
from bench.servers import slow_origin

LATENCY = 0.12  # seconds
POOLSIZES = (100, 1000)
SECONDS = 6  # of each run
ROUNDS = 3


def run(*, quick: bool = False) -> Row:
    row = Row(
        title=f"Throughput at {LATENCY * 1000:.0f} ms latency, of poolsize / latency",
        notes=["Redis to Redis; pyspider at this latency: 0.6"],
    )
    for poolsize in POOLSIZES:
        most = poolsize / LATENCY
        count = int(most * (2 if quick else SECONDS))
        with slow_origin(LATENCY) as origin, component(poolsize=poolsize) as ours:
            ours.run(f"{origin.url}/", poolsize, ahead=count)
            rounds = 1 if quick else ROUNDS
            samples = [ours.run(f"{origin.url}/", count, ahead=count) for _ in range(rounds)]
        peer = summarise(f"poolsize {poolsize}", samples)
        row.peers.append(peer)
        row.claims.append(
            Claim(
                what=f"{peer.name}: {most:.0f}/s", measured=peer.rate / most, limit=0.9,
                at_least=True, unit=" of it",
            )
        )  # fmt: skip
    return row
