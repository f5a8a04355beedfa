"""A task in, a result out, without a queue: ours beside Python's other clients, and Go's."""

from collections.abc import Mapping
from functools import partial
from typing import Final

from bench import go
from bench.measure import Claim, Peer, Row, Run, interleave, run_module
from bench.servers import nginx

# Enough for two seconds or so of each, from what they were once measured at.
COUNTS: Final = {
    "fetcher": 60_000, "tornado_curl": 20_000, "aiohttp": 30_000, "bare_multi": 100_000,
    "fetch_many": 60_000, "curl_client": 60_000, "tornado_simple": 6_000, "httpx": 3_000,
    "scrapy": 2_000, "go": 60_000,
}  # fmt: skip
GO: Final = "go"
COMPARED: Final = ("fetcher", "tornado_curl", "aiohttp", "bare_multi", GO)
ROUNDS: Final = 5
LIMITS: Final = {"tornado_curl": 0.25, "aiohttp": 0.42, "bare_multi": 1.9, GO: 1.4}


def run(*, quick: bool = False) -> Row:
    counts = {name: count // 10 if quick else count for name, count in COUNTS.items()}
    notes = ["1 kB page, keep-alive, 100 at once, URLs all different; `fetcher` is Fetcher.run"]
    with nginx() as origin, go.client() as client:
        if client is None:
            del counts[GO]
            notes.append(f"no row for {GO}: {go.MISSING}")

        def build_run(name: str) -> Run:
            if name == GO and client is not None:
                return partial(go.run, client, origin.url, counts[name])
            return partial(run_module, "bench.peers", name, origin.url, counts[name])

        def run_all(names: list[str], rounds: int) -> dict[str, Peer]:
            return interleave({name: build_run(name) for name in names}, rounds)

        peers = run_all([one for one in COMPARED if one in counts], 3 if quick else ROUNDS)
        others = run_all([one for one in counts if one not in COMPARED], 1 if quick else 3)
    return Row(
        title="Fetcher, task in, result out, no queue: CPU per fetch",
        claims=[build_claim(peers, name) for name in LIMITS if name in peers],
        peers=[*peers.values(), *others.values()],
        notes=notes,
    )


def build_claim(peers: Mapping[str, Peer], name: str) -> Claim:
    ratio = peers["fetcher"].cpu / peers[name].cpu
    return Claim(what=f"CPU of {name}", measured=ratio, limit=LIMITS[name], unit=" times")
