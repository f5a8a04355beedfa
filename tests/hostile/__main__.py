"""The table of what hostile cases cost: `python -m tests.hostile [WORD...]`, those with the words.

For each: the longest time in which the service did not answer (in brackets: the most that its loop
was on a CPU until an answer, and how much of that time was a wait for one, which is the machine's
fault), by how much it grew meanwhile, and how often and how slowly a neighbour's fetch was served.
"""

import asyncio
import logging
import sys
import tempfile
from pathlib import Path

from fetchpool.farm.certificate import make_certificate
from tests.hostile.arena import Measure, measuring
from tests.hostile.table import CASES, CHECKS, Play


def main(words: list[str]) -> None:
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # peers go on to those who have gone
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        certificate = make_certificate(folder, ["127.0.0.1"])
        assert certificate is not None, "the program openssl is needed"
        for cases, checks in ((CASES, False), (CHECKS, True)):
            chosen = {name: case for name, case in cases.items() if all(w in name for w in words)}
            place = folder / str(checks)
            place.mkdir()
            if chosen:
                with measuring(place, certificate, checks=checks) as measure:
                    run(measure, chosen)


def run(measure: Measure, cases: dict[str, Play]) -> None:
    for name, play in cases.items():
        sys.stdout.write(f"{name:60} {asyncio.run(measure.run(play))}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
