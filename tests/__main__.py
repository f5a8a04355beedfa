"""`python -m tests`: the whole suite, as runs of pytest side by side, one more than the cores are.

What starts processes waits for them half of its time, so that a core has room for one more. The
runs begin in the order of `CUT`, each as soon as there is a place, and are printed as they end.
Where tests of a run fail they are run once more, alone: a test may mind company, and shall not fail
for that. A run ends, and counts as failed, where a test cannot be ended by its own time-out.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Final, NamedTuple

from tests.runs import ROOT, cut, find_files

MOST_PLACES: Final = 5
FAILED: Final = 1  # pytest's code for tests that ran and failed

# A time-out that is raised within a task of asyncio may be swallowed by what waits for that. No
# test of the short suite takes a tenth of this; whoever does is shown with all that it waits for.
STUCK: Final = ("-o", "faulthandler_timeout=900", "-o", "faulthandler_exit_on_timeout=true")


class Ended(NamedTuple):
    """A run of pytest."""

    name: str
    code: int
    said: str
    took: float  # seconds


def run(name: str, files: Iterable[str], *words: str) -> Ended:
    """A run remembers what failed in a place of its own."""
    place = "".join(letter if letter.isalnum() else "_" for letter in name)
    began = time.monotonic()
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-o", f"cache_dir=.pytest_cache/{place}"),
            *(*STUCK, *words),
            *(f"tests/{file}" for file in files),
        ],
        cwd=ROOT.parent,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    said = ended.stdout.decode(errors="replace")
    return Ended(name, ended.returncode, said, time.monotonic() - began)


def show(ended: Ended, title: str) -> None:
    sys.stdout.write(f"\n--- {ended.name}{title}: {ended.took:.0f} s\n{ended.said}")
    sys.stdout.flush()


def main() -> int:
    """Pytest's exit code, of a run that failed if one did."""
    runs = cut(find_files())
    codes = {}
    with ThreadPoolExecutor(min((os.cpu_count() or 1) + 1, MOST_PLACES)) as places:
        waited = [places.submit(run, *one) for one in runs.items()]
        try:
            for future in as_completed(waited):
                ended = future.result()
                codes[ended.name] = ended.code
                show(ended, "")
        except KeyboardInterrupt:
            places.shutdown(cancel_futures=True)
            raise
    for name in [name for name, code in codes.items() if code == FAILED]:
        ended = run(name, runs[name], "--last-failed")
        codes[name] = ended.code
        show(ended, ", once more")
    return max(codes.values())


if __name__ == "__main__":
    sys.exit(main())
