"""Each decision module is covered by its own test file, every line and every branch.

What decides can be tried in every case without a socket, so there is no excuse; and only its own
tests say what it is meant to do: those of others merely pass through. Runs the test files of all
decision modules in one pytest, each under a context of its own; what a module does while it is
imported counts as well. Prints one line per offence and exits 1, or one line that says how much
was checked and exits 0.
"""

import ast
import contextlib
import io
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any, Final, NamedTuple

import coverage
import pytest

# As in the other checks; written out, since a program does not import its neighbours.
MARK: Final = re.compile(r"\bdecision\s+module\b", re.IGNORECASE)
PACKAGES: Final = ("fetcher", "pool", "fetchpool")

# Code that cannot run: what says why, what is for the type checker, what no type is left for.
EXCLUDED: Final = (
    r"# pragma: no cover[^\w#]+\w",
    r"^\s*if (typing\.)?TYPE_CHECKING:",
    r"\bassert_never\(",
)

# The mark of tests that take much of something: few of it cover as much, ten times as fast.
LEFT_OUT: Final = "volume"

SHARES: Final = 2  # processes


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


def build_name(module: str) -> str:
    """`fetcher/crawl/links.py` -> `fetcher.crawl.links`."""
    return module.removesuffix(".py").replace("/", ".")


def build_test_path(module: str) -> str:
    """`fetcher/crawl/links.py` -> `tests/fetcher/crawl/test_links.py`."""
    path = PurePosixPath(module)
    return str(PurePosixPath("tests", path.with_name(f"test_{path.name}")))


class Contexts:
    """Tells coverage for whom something runs: a test file, or the import of a module.

    Of pytest it is a plug-in, of Python's import system a finder.
    """

    def __init__(self, measured: coverage.Coverage, modules: Sequence[str]) -> None:
        self._measured = measured
        self._modules = {build_name(module): module for module in modules}
        self._file = self._context = ""

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(self, collector: pytest.Collector) -> Any:
        with self._switch(self._turn_to(collector.nodeid)):
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Any:
        with self._switch(self._turn_to(item.nodeid)):
            return (yield)

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The usual one, whose loader executes the module in the module's own context."""
        if name not in self._modules:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec and spec.loader:
            execute = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                with self._switch(self._modules[name]):
                    execute(module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec

    @contextlib.contextmanager
    def _switch(self, context: str) -> Iterator[None]:
        before, self._context = self._context, context
        self._measured.switch_context(context)
        try:
            yield
        finally:
            self._context = before
            self._measured.switch_context(before)

    def _turn_to(self, nodeid: str) -> str:
        """The file of a test. A new one finds no answers that another has put into caches."""
        file = nodeid.partition("::")[0]
        if file != self._file:
            self._file = file
            for module in filter(None, map(sys.modules.get, self._modules)):
                for value in vars(module).values():
                    if callable(forget := getattr(value, "cache_clear", None)):
                        forget()
        return file


def measure(root: Path, modules: Sequence[str]) -> Iterator[Gap]:
    """The gaps of these modules. Raises RuntimeError when their tests do not pass."""
    with tempfile.TemporaryDirectory(prefix="coverage-") as folder, contextlib.chdir(root):
        measured = coverage.Coverage(
            data_file=str(Path(folder, "data")), config_file=False, branch=True, include=modules
        )
        measured.set_option("run:core", "ctrace")  # sys.monitoring cannot tell contexts apart
        measured.clear_exclude()
        measured.clear_exclude("partial")
        for pattern in EXCLUDED:
            measured.exclude(pattern)
        said = io.StringIO()
        words = ["-q", "-p", "no:cacheprovider", "--no-header", f"--rootdir={root}"]
        words += ["-m", f"not {LEFT_OUT}", *map(build_test_path, modules)]
        contexts = Contexts(measured, modules)
        sys.meta_path.insert(0, contexts)
        measured.start()
        try:
            with contextlib.redirect_stdout(said):
                code = pytest.main(words, plugins=[contexts])
        finally:
            measured.stop()
            sys.meta_path.remove(contexts)
        if code:
            raise RuntimeError(said.getvalue())
        for module in modules:
            gap = find_gap(measured, module, Path(folder, "report.json"))
            if gap.lines or gap.branches:
                yield gap


def find_gap(measured: coverage.Coverage, module: str, report: Path) -> Gap:
    """What neither the module's own import nor its own test file has reached."""
    own = [f"^{re.escape(context)}$" for context in (module, build_test_path(module))]
    measured.json_report([module], outfile=str(report), contexts=own)
    [file] = json.loads(report.read_text())["files"].values()
    silent = set(find_signatures(ast.parse(Path(module).read_text(encoding="utf-8"))))
    return Gap(
        module,
        [line for line in file["missing_lines"] if line not in silent],
        [(one, other) for one, other in file["missing_branches"] if one not in silent],
    )


def find_signatures(tree: ast.Module) -> Iterator[int]:
    """The lines inside the methods of protocols that say only what others do."""
    for owner in ast.walk(tree):
        if isinstance(owner, ast.ClassDef) and any(
            re.search(r"\bProtocol\b", ast.unparse(base)) for base in owner.bases
        ):
            for node in owner.body:
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and all(
                    isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant)
                    for line in node.body
                ):
                    yield from range(node.body[0].lineno, (node.end_lineno or node.lineno) + 1)


def share_out(modules: Sequence[str]) -> int:
    """Check them in `SHARES` processes side by side. Returns the exit code."""
    shares = [
        subprocess.Popen([sys.executable, __file__, *modules[first::SHARES]])
        for first in range(SHARES)
    ]
    return max([share.wait() for share in shares])


def main(argv: list[str]) -> int:
    """Check all decision modules, or those that are named. Returns the exit code."""
    root = Path(__file__).resolve().parent.parent
    modules = argv[1:] or find_decisions(root)
    if not modules:
        print(f"own coverage: no decision modules below {root}")
        return 1
    if not argv[1:] and len(modules) >= SHARES:
        return share_out(modules)
    try:
        gaps = list(measure(root, modules))
    except RuntimeError as error:
        print(f"own coverage: the tests do not pass\n{error}")
        return 1
    for gap in gaps:
        print(gap)
    if not gaps:
        print(f"own coverage: {len(modules)} decision modules, every line and branch")
    return 1 if gaps else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
