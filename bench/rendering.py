"""Rendering beside a bare playwright loop: pages a second of the same browser in the same run.

Each page has a context of its own, a style sheet, a script and a request, and what it says is read.
The bare loop goes straight to the origin; ours has a listener, a guard and a deadline for each.
"""

from functools import partial
from typing import Final

from bench.measure import Claim, Row, Sample, interleave, run_module
from fetcher.client.chromium.program import AUTO, find_program

PAGES: Final = 160  # of one run
AT_ONCE: Final = 4
MISSING: Final = "no Chromium here: apt install chromium-headless-shell"
LIMIT: Final = 0.85


def run(*, quick: bool = False) -> Row:
    title = f"rendering against a bare playwright loop, {AT_ONCE} pages at once"
    program = find_program(AUTO)
    if program is None:
        return Row(title=title, notes=[MISSING])
    count, rounds = (16, 1) if quick else (PAGES, 5)
    peers = interleave(
        {
            "fetchpool": partial(_run, "own", program, count),
            "playwright": partial(_run, "bare", program, count),
        },
        rounds,
    )
    ratio = peers["fetchpool"].rate / peers["playwright"].rate
    claim = Claim(what="pages a second", measured=ratio, limit=LIMIT, at_least=True)
    return Row(title=title, claims=[claim], peers=[*peers.values()], notes=[program])


def _run(who: str, program: str, count: int) -> Sample:
    # A browser needs all cores that there are.
    return run_module("bench.rendering_peers", who, program, count, AT_ONCE, pinned=False)
