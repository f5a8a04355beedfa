"""Each decision module is covered by its own test file, every line and every branch.

What decides can be tried in every case without a socket, so there is no excuse; and only its own
tests say what it is meant to do: those of others merely pass through. Runs the test files of all
decision modules in one pytest, each under a context of its own. Prints one line per offence and
exits 1, or one line that says how much was checked and exits 0.
"""

import ast
import contextlib
import io
import json
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final, NamedTuple

import coverage
import pytest

# As in the other checks; written out, since a program does not import its neighbours.
MARK: Final = re.compile(r"\bdecision\s+module\b", re.IGNORECASE)
PACKAGES: Final = ("fetcher", "pool", "fetchpool")

# Bodies that say what others do, and code for the type checker alone.
EXCLUDED: Final = (r"pragma: no cover", r"if TYPE_CHECKING:", r"class \w+\(.*\bProtocol\b")

# Not there yet. The list may only become shorter: one that is complete is an offence too.
PENDING: Final[frozenset[str]] = frozenset()


class Gap(NamedTuple):
    """What of a module its own tests never reach; branches are (line, line it may go to)."""

    module: str
    lines: list[int]
    branches: list[tuple[int, int]]

    def __str__(self) -> str:
        jumps = [f"{one}->{'exit' if other < 0 else other}" for one, other in self.branches]
        return f"{self.module}: {', '.join([*map(str, self.lines), *jumps])}"


def is_decision(source: str) -> bool:
    """Whether the module's docstring says that it is one."""
    return MARK.search(ast.get_docstring(ast.parse(source)) or "") is not None


def find_decisions(root: Path) -> list[str]:
    """The paths of all decision modules, with slashes."""
    return [
        file.relative_to(root).as_posix()
        for package in PACKAGES
        for file in sorted((root / package).rglob("*.py"))
        if is_decision(file.read_text(encoding="utf-8"))
    ]


def build_test_path(module: str) -> str:
    path = PurePosixPath(module)
    return str(PurePosixPath("tests", path.with_name(f"test_{path.name}")))


class Contexts:
    """A pytest plug-in: what runs for a test counts for the file that the test is in."""

    def __init__(self, measured: coverage.Coverage) -> None:
        self._measured = measured

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Any:
        self._measured.switch_context(item.nodeid.partition("::")[0])
        try:
            return (yield)
        finally:
            self._measured.switch_context("")


def measure(root: Path, modules: Sequence[str]) -> Iterator[Gap]:
    """The gaps of these modules. Raises RuntimeError when their tests do not pass."""
    with tempfile.TemporaryDirectory(prefix="coverage-") as folder, contextlib.chdir(root):
        measured = coverage.Coverage(
            data_file=str(Path(folder, "data")), config_file=False, branch=True, include=modules
        )
        for pattern in EXCLUDED:
            measured.exclude(pattern)
        tests = [build_test_path(module) for module in modules]
        said = io.StringIO()
        words = ["-q", "-p", "no:cacheprovider", "--no-header", f"--rootdir={root}", *tests]
        measured.start()
        try:
            with contextlib.redirect_stdout(said):
                code = pytest.main(words, plugins=[Contexts(measured)])
        finally:
            measured.stop()
        if code:
            raise RuntimeError(said.getvalue())
        for module in modules:
            gap = find_gap(measured, module, Path(folder, "report.json"))
            if gap.lines or gap.branches:
                yield gap


def find_gap(measured: coverage.Coverage, module: str, report: Path) -> Gap:
    """What neither an import nor the module's own test file has reached."""
    own = re.escape(build_test_path(module))
    measured.json_report([module], outfile=str(report), contexts=["^$", f"^{own}$"])
    [file] = json.loads(report.read_text())["files"].values()
    branches = [(one, other) for one, other in file["missing_branches"]]
    return Gap(module, file["missing_lines"], branches)


def judge(gaps: Sequence[Gap], checked: Sequence[str], pending: frozenset[str]) -> list[str]:
    """One line per offence."""
    missing = {gap.module for gap in gaps}
    offences = [str(gap) for gap in gaps if gap.module not in pending]
    complete = sorted(pending.intersection(checked) - missing)
    return offences + [f"{module}: is complete: take it off the list" for module in complete]


def main(argv: list[str]) -> int:
    """Check all decision modules, or those that are named. Returns the exit code."""
    root = Path(__file__).resolve().parent.parent
    modules = argv[1:] or find_decisions(root)
    try:
        gaps = list(measure(root, modules))
    except RuntimeError as error:
        print(f"own coverage: the tests do not pass\n{error}")
        return 1
    # Who names modules wants to see what they lack, whatever the list says.
    offences = judge(gaps, modules, frozenset() if argv[1:] else PENDING)
    for offence in offences:
        print(offence)
    if not offences:
        whole = len(modules) - len(gaps)
        print(f"own coverage: {whole} decision modules whole, {len(gaps)} on the list")
    return 1 if offences else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
