"""The benchmarks as programs, scaled down: that each row runs to its end and says what it found.

What it found is never asserted: a busy machine is no failure.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fetchpool.command import MAIN

ROOT = Path(MAIN).parent
CLAIM = re.compile(r"^  (met|NOT MET) +\S.*\d.*\((<=|>=) [\d.]+", re.MULTILINE)

pytestmark = pytest.mark.timeout(120)


def bench(*words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "bench", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110)


@pytest.mark.parametrize(
    ("row", "claims"),
    [
        ("queue", 1),
        ("lone", 1),
        ("seed", 2),
        ("waiting", 2),
        ("hosts", 1),
        ("new_hosts", 2),
        ("fetch_through", 1),
        ("streamed", 2),
        ("checking", 4),
        ("random", 2),
        ("metrics", 2),
    ],
)
def test_a_row_runs_and_says_what_it_found(row: str, claims: int) -> None:
    done = bench(row, "--quick")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(CLAIM.findall(done.stdout)) == claims


def test_the_forward_proxy_runs_beside_squid_where_there_is_one() -> None:
    done = bench("forward", "--quick")
    assert (done.returncode, done.stderr) == (0, "")
    if "no squid here" not in done.stdout:
        assert len(CLAIM.findall(done.stdout)) == 3


def test_an_unknown_row_is_refused_with_those_there_are() -> None:
    done = bench("speed")
    assert done.returncode == 2
    assert "no row is called speed: expected some of fetch, queue," in done.stderr
