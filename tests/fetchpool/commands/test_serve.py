import socket
from pathlib import Path

import pytest

from tests.fetchpool.command import run

pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize("words", [["all"], ["api"]])
def test_a_port_in_use_is_said_in_a_sentence(tmp_path: Path, words: list[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        got = run(tmp_path, "-s", f"api.port={port}", *words)
    assert got.code == 1
    assert f"api.host, api.port: cannot listen on 127.0.0.1:{port}" in got.err
    assert "in use" in got.err
    assert "-s api.port=PORT" in got.err


def test_an_address_that_is_not_ours_is_said_in_a_sentence(tmp_path: Path) -> None:
    got = run(tmp_path, "-s", "api.host=192.0.2.1", "-s", "api.key=k-1", "api")
    assert got.code == 1
    assert "cannot listen on 192.0.2.1:5555" in got.err
