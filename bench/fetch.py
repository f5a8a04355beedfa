"""A task in, a result out, without a queue: ours beside Python's other clients."""

from collections.abc import Mapping
from functools import partial
from typing import Final

from bench.measure import Claim, Peer, Row, interleave, run_module
from bench.servers import nginx

# Enough for two seconds or so of each, from what they were once measured at.
COUNTS: Final = {
    "fetcher": 60_000, "tornado_curl": 20_000, "aiohttp": 30_000, "bare_multi": 100_000,
    "fetch_many": 60_000, "curl_client": 60_000, "tornado_simple": 6_000, "httpx": 3_000,
    "scrapy": 2_000,
}  # fmt: skip
COMPARED: Final = ("fetcher", "tornado_curl", "aiohttp", "bare_multi")
ROUNDS: Final = 5
LIMITS: Final = {"tornado_curl": 0.33, "aiohttp": 0.67, "bare_multi": 2.6}


def run(*, quick: bool = False) -> Row:
    counts = {name: count // 10 if quick else count for name, count in COUNTS.items()}
    with nginx() as origin:

        def run_all(names: tuple[str, ...], rounds: int) -> dict[str, Peer]:
            return interleave(
                {
                    name: partial(run_module, "bench.peers", name, origin.url, counts[name])
                    for name in names
                },
                rounds,
            )

        peers = run_all(COMPARED, 3 if quick else ROUNDS)
        others = run_all(tuple(name for name in counts if name not in COMPARED), 1 if quick else 3)
    return Row(
        title="Fetcher, task in, result out, no queue: CPU per fetch",
        claims=[build_claim(peers, name) for name in LIMITS],
        peers=[*peers.values(), *others.values()],
        notes=["1 kB page, keep-alive, 100 at once, URLs all different; `fetcher` is Fetcher.run"],
    )


def build_claim(peers: Mapping[str, Peer], name: str) -> Claim:
    ratio = peers["fetcher"].cpu / peers[name].cpu
    return Claim(what=f"CPU of {name}", measured=ratio, limit=LIMITS[name], unit=" times")
