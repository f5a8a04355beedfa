"""The table of what hostile cases cost: `python -m tests.hostile [WORD...]`, those with the words.

For each: the longest time in which the service did not answer, by how much it grew meanwhile, and
how often and how slowly a neighbour's fetch was served.
"""

import asyncio
import sys
import tempfile
from pathlib import Path

from tests.farm.certificate import make_certificate
from tests.hostile.arena import measuring
from tests.hostile.table import CASES


def main(words: list[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        certificate = make_certificate(folder, ["127.0.0.1"])
        assert certificate is not None, "the program openssl is needed"
        with measuring(folder, certificate) as measure:
            for case, play in CASES.items():
                if all(word in case for word in words):
                    sys.stdout.write(f"{case:60} {asyncio.run(measure.run(play))}\n")
                    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
