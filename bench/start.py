"""How long the command line takes to say what it can, over the import of what it is built on."""

import subprocess
import sys
import time
from statistics import median
from typing import Final

from bench.measure import MEASURED, ROOT, Claim, Row, pin

RUNS: Final = 40
OURS: Final = ("main.py", "--help")
PEER: Final = ("-c", "import tornado.web, pycurl, redis")


def run(*, quick: bool = False) -> Row:
    _time(OURS)  # whatever has to be compiled or read from the disk
    _time(PEER)
    pairs = [(_time(OURS), _time(PEER)) for _ in range(RUNS // 5 if quick else RUNS)]
    ours, peer = (median(times) for times in zip(*pairs, strict=True))
    ratio = median(one / other for one, other in pairs)
    return Row(
        title="Start: `main.py --help` over importing tornado.web, pycurl and redis",
        claims=[Claim(what="wall time", measured=ratio, limit=1.5, unit=" times")],
        notes=[f"medians: {ours * 1000:.0f} ms and {peer * 1000:.0f} ms"],
    )


def _time(words: tuple[str, ...]) -> float:
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        timeout=60,
        check=True,
        preexec_fn=pin(MEASURED),
    )
    return time.perf_counter() - began
