"""The seed's 500 pages as its users have them: a list, one command, start-up included."""

import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from bench.measure import MEASURED, PATIENCE, ROOT, Claim, Row, Sample, interleave, pin
from bench.seed import LONGEST, SHORTEST, TIMEOUT, delay_of, draw_paths
from bench.servers import redis, slow_origin


def run(*, quick: bool = False) -> Row:
    paths = draw_paths()
    if quick:
        paths = paths[:50]
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        redis() as url,
        slow_origin(0.0, hosts=len(paths)) as origin,
    ):
        rows = [
            f"http://127.1.{number // 250}.{number % 250 + 1}:{origin.port}{path}"
            for number, path in enumerate(paths)
        ]
        source = Path(folder, "list.txt")
        source.write_text("\n".join(rows))
        peers = interleave({"crawl": partial(_crawl, source, url, len(rows))}, 1 if quick else 3)
    took = len(rows) / peers["crawl"].rate
    total = sum(map(delay_of, paths))
    return Row(
        title=f"`crawl LIST`: {len(rows)} pages of {SHORTEST} to {LONGEST} s, start-up included",
        claims=[
            Claim(what="sum of all delays (a serial crawler)", measured=total / took, limit=100,
                  at_least=True, unit="x")
        ],
        peers=list(peers.values()),
        notes=[f"sum {total:.0f} s, {took:.2f} s; each page on a host of its own, robots.txt not"
               " asked for"],
    )  # fmt: skip


def _crawl(source: Path, redis_url: str, count: int) -> Sample:
    words = ["--redis", redis_url, "crawl", str(source), "--no-robots", "--retries", "0"]
    words += ["--timeout", f"{TIMEOUT}s", "--concurrency", "500", "--quiet"]
    out = source.with_name(f"out-{time.time_ns()}.jsonl")
    words += ["--out", str(out), "--name", out.stem]
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, ROOT / "main.py", *words],
        cwd=source.parent,
        stdin=subprocess.DEVNULL,
        timeout=PATIENCE,
        check=True,
        preexec_fn=pin(MEASURED),
    )
    seconds = time.perf_counter() - began
    assert out.read_bytes().count(b"\n") == count
    return Sample(done=count, seconds=seconds, cpu=0.0)
