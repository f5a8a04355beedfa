"""`/fetch` of a body of 100 MB, beside a bare Tornado handler that writes as much.

Whether it passes through or is held shows in the memory, against a body a tenth as long.
"""

from functools import partial
from typing import Final

from bench import load
from bench.fetch_through import api, bare_handler, put
from bench.measure import Claim, Row, interleave
from bench.servers import nginx

SIZE: Final = 1600 * 2**16  # pieces of the bare handler's; 105 MB
SMALLER: Final = SIZE // 10
REQUESTS: Final = 20


def run(*, quick: bool = False) -> Row:
    count = 3 if quick else REQUESTS
    files = {"body": SIZE, "smaller": SMALLER}
    with (
        nginx(files) as origin,
        api(max_body=2 * SIZE) as service,
        bare_handler(SIZE) as tornado,
        bare_handler(SIZE, origin.port) as relay,
    ):
        target = f"/fetch?url={origin.url}/"
        load.put(service.port, f"{target}smaller", 5, 1)
        before = service.usage.rss
        load.put(tornado.port, "/", 1, 1)
        runs = {
            "/fetch": partial(put, service, f"{target}body", count, 1),
            "bare handler": partial(put, tornado, "/", count, 1),
            "bare relay": partial(put, relay, "/", count, 1),
        }
        peers = interleave(runs, 1 if quick else 3)
    ours, bare = peers["/fetch"], peers["bare handler"]
    return Row(
        title=f"/fetch of {SIZE / 1e6:.0f} MB against a bare Tornado handler, per CPU second",
        claims=[
            Claim(what="of its answers", measured=bare.cpu / ours.cpu, limit=0.6, at_least=True),
            Claim(what=f"peak memory, of that with {SMALLER / 1e6:.0f} MB",
                  measured=ours.rss / before, limit=1.1, unit=" times"),
        ],
        peers=list(peers.values()),
        notes=[
            *(f"{one.name}: {one.rate * SIZE / 1e6:,.0f} MB/s" for one in peers.values()),
            "the bare relay is a handler that reads from the origin what it writes: the handler"
            " makes its bytes up, and has half of the work",
        ],
    )  # fmt: skip
