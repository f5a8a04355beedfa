"""Each module has its test file in the same place below tests/, and each test file its module.

Reads names and, of test files, whether a test is in them. Prints one line per offence and exits 1,
or one line that says how much was checked and exits 0.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

PACKAGES: Final = ("fetcher", "pool", "fetchpool", "checks")

# What runs through the tests of others, or has nothing to run.
EXEMPT: Final = frozenset({"__init__.py", "__main__.py"})

# Folders below tests/ that mirror no package, and why.
FREE: Final = {
    "tests/deploy": "what is given to those who run and watch it",
    "tests/docs": "what stands in README.md and docs/",
    "tests/e2e": "whole runs, through many modules at once",
    "tests/hostile": "peers that mean harm, to the service as a whole",
}

# Folders of packages that are tested as a whole, and how.
WHOLE: Final = {
    "fetchpool/farm": "each kind of proxy, by real clients that come through it",
}

TEST: Final = re.compile(r"^\s*(async )?def test_|^(class )?Test\w+", re.MULTILINE)


class Mirror(NamedTuple):
    """How many modules were looked at, and one line per offence."""

    modules: int
    offences: list[str]


def build_test_path(module: PurePosixPath) -> PurePosixPath:
    """`fetcher/crawl/links.py` -> `tests/fetcher/crawl/test_links.py`."""
    return PurePosixPath("tests", module.with_name(f"test_{module.name}"))


def build_module_path(test: PurePosixPath) -> PurePosixPath:
    """`tests/fetcher/crawl/test_links.py` -> `fetcher/crawl/links.py`."""
    return PurePosixPath(*test.parts[1:]).with_name(test.name.removeprefix("test_"))


def find_files(root: Path, folder: str, pattern: str) -> Iterator[PurePosixPath]:
    """Files below `root / folder`, relative to `root`, in order."""
    for file in sorted((root / folder).rglob(pattern)):
        yield PurePosixPath(file.relative_to(root).as_posix())


def find_missing(root: Path, modules: list[PurePosixPath]) -> Iterator[str]:
    """Modules that nothing tests."""
    for module in modules:
        test = build_test_path(module)
        if not (root / test).is_file():
            yield f"{module}: {test} is missing"
        elif not TEST.search((root / test).read_text(encoding="utf-8")):
            yield f"{module}: {test} has no test in it"


def find_orphans(root: Path) -> Iterator[str]:
    """Test files whose module is gone or never was."""
    for test in find_files(root, "tests", "test_*.py"):
        module = build_module_path(test)
        is_free = any(test.is_relative_to(folder) for folder in FREE)
        # What tests lean on lies beside its own test: tests/wait.py, tests/test_wait.py.
        beside = test.with_name(module.name)
        if not is_free and not (root / module).is_file() and not (root / beside).is_file():
            yield f"{test}: there is no {module}"


def compare(root: Path) -> Mirror:
    """Hold the tree below `root` against its tests."""
    modules = [
        file
        for package in PACKAGES
        for file in find_files(root, package, "*.py")
        if file.name not in EXEMPT and not any(file.is_relative_to(folder) for folder in WHOLE)
    ]
    return Mirror(len(modules), [*find_missing(root, modules), *find_orphans(root)])


def main(argv: list[str]) -> int:
    """Check the tree below `argv[1]`, else the one this file is in. Returns the exit code."""
    root = Path(argv[1]) if len(argv) > 1 else Path(__file__).resolve().parent.parent
    mirror = compare(root)
    if not mirror.modules:
        print(f"mirror: no modules below {root}")
        return 1
    for offence in mirror.offences:
        print(offence)
    if not mirror.offences:
        print(f"mirror: {mirror.modules} modules, each with its tests")
    return 1 if mirror.offences else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
