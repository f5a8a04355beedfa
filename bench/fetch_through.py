"""`/fetch` of a 10 kB page, beside a bare Tornado handler that writes the same body."""

import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Final

import yaml

from bench import load
from bench.measure import MEASURED, Claim, Row, Sample, interleave
from bench.servers import LARGE, Server, free_port, nginx, redis, running

REQUESTS: Final = 20_000


def run(*, quick: bool = False) -> Row:
    count = REQUESTS // (10 if quick else 1)
    with nginx() as origin, redis() as url, tempfile.TemporaryDirectory(prefix="bench-") as name:
        port, bare_port = free_port(), free_port()
        settings = Path(name, "bench.yaml")
        api = {"port": port, "allow_private": True, "proxy": "direct"}
        settings.write_text(yaml.safe_dump({"redis": {"url": url}, "api": api}))
        ours = [sys.executable, "main.py", "-c", str(settings), "--log-level", "error", "api"]
        bare = [sys.executable, "-m", "bench.bare_tornado", str(bare_port), str(LARGE)]
        with (
            running(ours, f"127.0.0.1:{port}", core=MEASURED) as service,
            running(bare, f"127.0.0.1:{bare_port}", core=MEASURED) as tornado,
        ):
            target = f"/fetch?url={origin.url}/large"
            load.put(port, target, 500)
            load.put(bare_port, "/", 500)
            runs = {
                "/fetch": partial(put, service, target, count),
                "bare handler": partial(put, tornado, "/", count),
            }
            peers = interleave(runs, 1 if quick else 3)
    ratio = peers["bare handler"].cpu / peers["/fetch"].cpu
    return Row(
        title="/fetch of 10 kB against a bare Tornado handler writing it, per CPU second",
        claims=[Claim(what="of its answers", measured=ratio, limit=0.5, at_least=True)],
        peers=list(peers.values()),
    )


def put(server: Server, target: str, count: int) -> Sample:
    """Have `target` asked for `count` times; what that cost the server."""
    before = server.usage.cpu
    seconds = load.put(server.port, target, count)
    return Sample(done=count, seconds=seconds, cpu=server.usage.cpu - before, rss=server.usage.rss)
