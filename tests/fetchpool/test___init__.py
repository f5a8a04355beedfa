import subprocess
import sys

import pytest

import fetchpool
from tests.fetchpool.command import MAIN


def test_every_public_name_is_there() -> None:
    assert {*fetchpool.__all__} <= {*dir(fetchpool)}
    for name in fetchpool.__all__:
        assert getattr(fetchpool, name) is not None
    assert fetchpool.Fetcher is fetchpool.Fetcher


def test_another_name_is_not() -> None:
    with pytest.raises(AttributeError, match="module 'fetchpool' has no attribute 'Fetchers'"):
        fetchpool.Fetchers  # type: ignore[attr-defined]  # noqa: B018


def test_all_of_them_can_be_imported_at_once() -> None:
    program = "from fetchpool import *; print(Fetcher.__module__, BlockingFetcher.__module__)"
    ended = subprocess.run(
        [sys.executable, "-c", program],
        cwd=MAIN.parent,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert ended.stdout == "fetchpool.face fetchpool.face\n"
