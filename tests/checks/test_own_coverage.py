"""Small trees whose tests reach all of a module, or not, or only by way of others."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from checks import layers, own_coverage
from tests.checks.test_mirror import write_tree

HEAD = '"""A decision module."""\n\n'
SIGN = "def sign(number):\n    if number < 0:\n        return '-'\n    return '+'\n"
BOTH = "def test_it():\n    assert (sign(-1), sign(1)) == ('-', '+')\n"
ONE = "def test_it():\n    assert sign(-1) == '-'\n"
NONE = "def test_it(): ...\n"

# Name, module, its own tests, what is said to be missing. Line 3 is the first one below the head.
ROWS = [
    ("whole", SIGN, BOTH, None),
    ("half", SIGN, ONE, "6, 4->6"),
    ("other_half", SIGN, ONE.replace("-", "+").replace("+1", "1"), "5, 4->5"),
    ("untouched", SIGN, NONE, "4, 5, 6, 4->5, 4->6"),
    ("loop", "def f(x):\n    for _ in x:\n        pass\n", "f([1])", None),
    ("loop_never_left", "def f(x):\n    for _ in x:\n        return 1\n", "f([1])", "4->exit"),
    ("no_function", "ONE = 1\nif ONE:\n    TWO = 2\n", NONE, "4->exit"),
    ("constants", "ONE = 1\n\n\nclass A:\n    two = ONE + 1\n", NONE, None),
    # Run by the import of the module itself, and by nothing else.
    ("builds", "def _build():\n    return {1: 2}\n\n\nTABLE = _build()\n", NONE, None),
    # Run while the file of its own tests is read.
    ("read", SIGN, "TABLE = [sign(1), sign(-1)]\n" + NONE, None),
    # Run by the import of another module, by its tests, and while its tests are read.
    ("used", SIGN, ONE, "6, 4->6"),
    ("user", "from fetcher.used import sign\n\nPLUS = sign(1)\n", "sign(1)\nsign(1)", None),
    # The tests of the one before have filled the cache.
    ("z_cached", f"from functools import lru_cache\n\n\n@lru_cache\n{SIGN}", BOTH, None),
    ("cacher", "from fetcher.z_cached import sign\n", "sign(1)\nsign(-1)", None),
    # Nobody expects these to run.
    (
        "reason",
        SIGN.replace("return '+'", "return '+'  # pragma: no cover: no such day"),
        ONE,
        None,
    ),
    ("dash", SIGN.replace("return '+'", "return '+'  # pragma: no cover - never"), ONE, None),
    ("no_reason", SIGN.replace("return '+'", "return '+'  # pragma: no cover"), ONE, "6, 4->6"),
    ("noqa", SIGN.replace("'+'", "'+'  # pragma: no cover  # noqa: E1"), ONE, "6, 4->6"),
    ("no_branch", SIGN.replace("0:", "0:  # pragma: no branch"), ONE, "6, 4->6"),
    ("types", "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    x = 1\n", NONE, None),
    (
        "never",
        "from typing import assert_never\n\n\ndef f(x):\n    match x:\n        case 1:\n"
        "            return\n        case _:\n            assert_never(x)\n",
        "f(1)",
        None,
    ),
    (
        "protocol",
        "from typing import Protocol\n\n\nclass P(Protocol):\n    async def f(self):\n"
        "        '''Say.'''\n\n    def g(self): ...\n\n    def h(self):\n        ...\n",
        NONE,
        None,
    ),
    (
        "protocol_with_code",
        "import typing\n\nT = typing.TypeVar('T')\n\n\nclass P(typing.Protocol[T]):\n"
        "    def f(self):\n        return 1\n\n    def g(self):\n        '''Say.'''\n",
        NONE,
        "10",
    ),
    ("no_protocol", "class P:\n    def f(self):\n        ...\n", NONE, "5"),
    # Takes much of something.
    (
        "much",
        SIGN,
        f"import pytest\n{ONE}@pytest.mark.volume\n{BOTH}".replace("it", "i", 1),
        "6, 4->6",
    ),
]


def run(root: Path, *modules: str) -> tuple[int, str]:
    """The check as a program, from a copy of it in the tree."""
    write_tree(root, {"checks/own_coverage.py": Path(own_coverage.__file__).read_text()})
    done = subprocess.run(
        [sys.executable, "checks/own_coverage.py", *modules],
        cwd=root,
        env={
            **os.environ,
            "PYTHONPATH": str(root),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # three times as fast
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout


def build_tree(*rows: tuple[str, str, str, str | None]) -> dict[str, str]:
    """Path -> source."""
    # A package, or one that is installed under this name would go before it.
    files = {"pytest.ini": "[pytest]\nmarkers = volume\n", "fetcher/__init__.py": ""}
    for name, module, test, _ in rows:
        if "def test_" not in test:
            test = "def test_it():\n    " + test.replace("\n", "\n    ")
        files[f"fetcher/{name}.py"] = HEAD + module
        files[f"tests/fetcher/test_{name}.py"] = f"from fetcher.{name} import *\n{test}\n"
    return files


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What is printed of a tree with all rows in it."""
    code, printed = run(write_tree(tmp_path_factory.mktemp("tree"), build_tree(*ROWS)))
    assert (code, printed[:8]) == (1, "fetcher/"), printed
    return printed.splitlines()


@pytest.mark.parametrize(("name", "missing"), [(row[0], row[3]) for row in ROWS])
def test_what_a_module_s_own_tests_do_not_reach_is_named(
    said: list[str], name: str, missing: str | None
) -> None:
    about = [line for line in said if line.startswith(f"fetcher/{name}.py: ")]
    assert about == ([f"fetcher/{name}.py: {missing}"] if missing else [])


def test_nothing_else_is_named(said: list[str]) -> None:
    # Two processes print them, each in its order.
    assert sorted(line.split("/")[1].split(".")[0] for line in said) == sorted(
        name for name, _, _, missing in ROWS if missing
    )


WHOLE, HALF = ROWS[:2]


@pytest.mark.parametrize(
    ("files", "modules", "code", "printed"),
    [
        (
            {**build_tree(WHOLE), "fetcher/driver.py": '"""Runs decision modules."""\n' + SIGN},
            [],
            0,
            "own coverage: 1 decision modules, every line and branch\n",
        ),
        (build_tree(WHOLE, HALF), ["fetcher/half.py"], 1, "fetcher/half.py: 6, 4->6\n"),
        (
            build_tree(WHOLE, HALF),
            ["fetcher/whole.py"],
            0,
            "own coverage: 1 decision modules, every line and branch\n",
        ),
        (
            {**build_tree(WHOLE), "tests/fetcher/test_whole.py": NONE},
            [],
            1,
            "fetcher/whole.py: 3, 4, 5, 6, 4->5, 4->6\n",
        ),
        (
            {**build_tree(WHOLE), "tests/fetcher/test_whole.py": "def test_it():\n    assert 0\n"},
            [],
            1,
            "own coverage: the tests do not pass\n",
        ),
        ({"fetcher/whole.py": HEAD}, [], 1, "own coverage: the tests do not pass\n"),
        ({"fetcher/driver.py": SIGN}, [], 1, "own coverage: no decision modules below "),
    ],
    ids=[
        "whole, beside a driver", "half, named", "whole, named", "never imported", "failing",
        "without tests", "no decisions",
    ],
)  # fmt: skip
def test_the_program_prints_what_it_found_and_exits_accordingly(
    tmp_path: Path, files: dict[str, str], modules: list[str], code: int, printed: str
) -> None:
    got, said = run(write_tree(tmp_path, files), *modules)
    assert (got, said[: len(printed)]) == (code, printed)


def test_what_is_a_decision_to_the_layers_is_one_here() -> None:
    root = Path(own_coverage.__file__).resolve().parent.parent
    marked = {module.path for module in layers.parse_modules(root).values() if module.is_marked}
    assert set(own_coverage.find_decisions(root)) == marked
    assert {"fetcher/task/redirect.py", "pool/sources/text.py", "pool/score.py"} <= marked
