"""How the suite is cut into runs of pytest, of which `python -m tests` has some side by side."""

from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent

# Which files a run has; each goes with the first pattern that fits it. The longest are in front: it
# is the last to begin that the others wait for.
CUT: Final = (
    "fetchpool/*",
    "docs/*",
    "e2e/test_[a-e]*",
    "e2e/test_[f-o]*",
    "e2e/test_[p-r]*",
    "e2e/*",
    "fetcher/client/*",
    "fetcher/forward/*",
    "fetcher/[a-q]*",
    "fetcher/*",
    "pool/*",
    "*",
)


def cut(files: Iterable[str]) -> dict[str, list[str]]:
    """Pattern -> its files, in the order in which they begin; none is empty."""
    runs: dict[str, list[str]] = {pattern: [] for pattern in CUT}
    for file in sorted(files):
        runs[next(pattern for pattern in CUT if fnmatch(file, pattern))].append(file)
    return {pattern: found for pattern, found in runs.items() if found}


def find_files() -> list[str]:
    """All files with tests, as `tests/` sees them."""
    return [path.relative_to(ROOT).as_posix() for path in ROOT.rglob("test_*.py")]
