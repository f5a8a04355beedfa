"""Two workers on two cores against one: what `--workers 2` wins, and what the others take of it."""

from functools import partial

from bench.component import component
from bench.measure import Peer, Row, Sample, cores, interleave
from bench.servers import Server, nginx

TASKS = 60_000


def run(*, quick: bool = False) -> Row:
    if len(cores()) < 2:
        return Row(title="Two workers against one", notes=["there is one core here"])
    count = TASKS // (10 if quick else 1)
    shares: dict[str, float] = {}
    with (
        nginx() as origin,
        component(pinned=False) as one,
        component("--workers", "2", pinned=False) as two,
    ):

        def measured(name: str) -> Sample:
            ours = one if name == "one worker" else two
            before = origin.usage.cpu
            sample = ours.run(f"{origin.url}/page", count)
            shares[name] = (origin.usage.cpu - before) / sample.seconds
            return sample

        one.run(f"{origin.url}/page", 2000)
        two.run(f"{origin.url}/page", 2000)
        names = ("one worker", "two workers")
        peers = interleave({name: partial(measured, name) for name in names}, 3)
    return Row(
        title="Two workers on two cores against one: tasks a second",
        peers=list(peers.values()),
        notes=[describe(peers, shares, origin)],
    )


def describe(peers: dict[str, Peer], shares: dict[str, float], origin: Server) -> str:
    one, two = peers["one worker"], peers["two workers"]
    busy = two.rate * two.cpu / 1e6
    return (
        f"{two.rate / one.rate:.2f} times the rate of one. Of {len(cores())} cores two workers had"
        f" {busy:.2f}, the origin {shares['two workers']:.2f}; Redis, the producer and the"
        f" consumer shared the rest ({len(cores()) - busy - shares['two workers']:.2f})"
    )
