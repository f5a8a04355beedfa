"""Small packages whose tests reach all of them, or not, or only by way of others."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from checks import own_coverage
from checks.own_coverage import Gap, judge
from tests.checks.test_mirror import write_tree

MODULE = '''"""A decision module."""


def sign(number: int) -> str:
    if number < 0:
        return "minus"
    return "plus"
'''
TEST = """from fetcher.sign import sign


def test_minus() -> None:
    assert sign(-1) == "minus"
"""
BOTH = TEST + "    assert sign(1) == 'plus'\n"
OTHER = '"""A decision module."""\n'
OTHERS_TEST = BOTH.replace("test_minus", "test_both")
PROTOCOL = '''"""A decision module."""

from typing import Protocol


class Speaker(Protocol):
    def speak(self) -> str:
        """Say something."""


def sign(number: int) -> str:
    return "plus"
'''


def run(root: Path, *modules: str) -> tuple[int, str]:
    """The check as a program, from a copy of it in the tree."""
    source = Path(own_coverage.__file__).read_text()
    write_tree(root, {"checks/own_coverage.py": source, "fetcher/__init__.py": ""})
    done = subprocess.run(
        [sys.executable, "checks/own_coverage.py", *modules],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("files", "code", "said"),
    [
        (
            {"fetcher/sign.py": MODULE, "tests/fetcher/test_sign.py": BOTH},
            0,
            "own coverage: 1 decision modules whole, 0 on the list\n",
        ),
        (
            {"fetcher/sign.py": MODULE, "tests/fetcher/test_sign.py": TEST},
            1,
            "fetcher/sign.py: 7, 5->7\n",
        ),
        (
            {
                "fetcher/sign.py": MODULE,
                "tests/fetcher/test_sign.py": TEST,
                "fetcher/other.py": OTHER,
                "tests/fetcher/test_other.py": OTHERS_TEST,
            },
            1,
            "fetcher/sign.py: 7, 5->7\n",
        ),
        (
            {"fetcher/sign.py": PROTOCOL, "tests/fetcher/test_sign.py": BOTH.replace("-1", "1")},
            1,
            "own coverage: the tests do not pass\n",
        ),
        (
            {
                "fetcher/sign.py": PROTOCOL,
                "tests/fetcher/test_sign.py": TEST.replace("minus", "plus"),
                "fetcher/driver.py": "def never_run() -> None: ...\n",
            },
            0,
            "own coverage: 1 decision modules whole, 0 on the list\n",
        ),
    ],
    ids=["both ways", "one way", "the other way by another's test", "failing", "a protocol"],
)
def test_a_module_is_whole_when_its_own_tests_reach_all_of_it(
    tmp_path: Path, files: dict[str, str], code: int, said: str
) -> None:
    got, printed = run(write_tree(tmp_path, files))
    assert (got, printed[: len(said)]) == (code, said)


@pytest.mark.parametrize(
    ("gaps", "pending", "offences"),
    [
        ([], [], []),
        (["a.py"], [], ["a.py: 3, 3->exit"]),
        (["a.py"], ["a.py"], []),
        ([], ["a.py"], ["a.py: is complete: take it off the list"]),
        ([], ["elsewhere.py"], []),
    ],
)
def test_the_list_excuses_what_is_on_it_and_nothing_else(
    gaps: list[str], pending: list[str], offences: list[str]
) -> None:
    found = [Gap(module, [3], [(3, -1)]) for module in gaps]
    assert judge(found, ["a.py", "b.py"], frozenset(pending)) == offences


def test_all_decision_modules_of_the_project_are_found() -> None:
    root = Path(own_coverage.__file__).resolve().parent.parent
    found = own_coverage.find_decisions(root)
    assert {"fetcher/retry.py", "pool/sources/text.py", "pool/score.py"} <= set(found)
    assert not {"fetcher/curl.py", "fetchpool/service.py"} & set(found)
