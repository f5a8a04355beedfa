"""Rows as a table for a terminal, and as bench/RESULTS.md."""

import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

import pycurl

from bench import go
from bench.measure import Claim, Row, cores
from tests.peers import WHERE
from tests.redis_server import find_binary

RESULTS: Final = Path(__file__).parent / "RESULTS.md"
PEERS: Final = ("tornado", "pycurl", "aiohttp", "httpx", "Scrapy", "redis", "uvloop", "msgspec")


def render(row: Row) -> Iterator[str]:
    """Lines for a terminal."""
    yield row.title
    for claim in row.claims:
        measured = f"{claim.measured:.3g}{claim.unit} ({claim.target})"
        yield f"  {_verdict(claim):7} {claim.what}: {measured}"
    for peer in row.peers:
        yield (
            f"          {peer.name:16} {peer.rate:>9,.0f} /s {peer.cpu:>9.1f} us CPU"
            f" {peer.megabytes:>7.0f} MB"
        )
    for note in row.notes:
        yield f"          {note}"


def write_results(rows: Sequence[Row], path: Path = RESULTS) -> None:
    path.write_text("\n".join(_document(rows)) + "\n")


def _document(rows: Sequence[Row]) -> Iterator[str]:
    yield "# Results of `make bench`"
    yield ""
    yield from describe_machine()
    yield ""
    yield "Medians of interleaved runs. CPU is that of the measured process."
    yield ""
    yield "| row | of | target | measured | met |"
    yield "|---|---|---|---|---|"
    for row in rows:
        for claim in row.claims:
            met = "yes" if claim.is_met else "**no**"
            measured = f"{claim.measured:.3g}{claim.unit}"
            yield f"| {row.title} | {claim.what} | {claim.target} | {measured} | {met} |"
    for row in rows:
        yield ""
        yield f"## {row.title}"
        yield ""
        if row.peers:
            yield "| | a second | us CPU each | peak MB |"
            yield "|---|---|---|---|"
        for peer in row.peers:
            yield f"| {peer.name} | {peer.rate:,.0f} | {peer.cpu:.1f} | {peer.megabytes:.0f} |"
        if row.peers and row.notes:
            yield ""
        yield from (f"{note}  " for note in row.notes)


def describe_machine() -> Iterator[str]:
    """The machine in words, without any name of it."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    system = f"{platform.system()} {platform.release().split('-')[0]}"
    yield f"{_processor()}, {len(cores())} cores, {memory:.0f} GiB; {system},"
    yield f"Python {platform.python_version()}, {pycurl.version.split(' ', 1)[1]},"
    yield f"{', '.join(f'{name} {version(name)}' for name in PEERS)};"
    yield f"nginx {_nginx_version()}, {_redis_version()}, {go.version()}."


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _nginx_version() -> str:
    program = shutil.which("nginx", path=WHERE)
    if program is None:
        return "missing"
    said = subprocess.run([program, "-v"], capture_output=True, text=True, timeout=10, check=False)
    return said.stderr.strip().rpartition("/")[2]


def _redis_version() -> str:
    from fetchpool.redis.binary import ask_version

    return f"Redis {'.'.join(map(str, ask_version(find_binary('newest')).version))}"


def _verdict(claim: Claim) -> str:
    return "met" if claim.is_met else "NOT MET"
