import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.fetchpool.command import MAIN, environment, run
from tests.redis_server import RedisServer
from tests.terminal import shown

pytestmark = pytest.mark.timeout(60)

FREE = ("-s", "api.port=0", "-s", "forward.port=0")


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
    got = run(
        tmp_path, "-s", "forward.port=0", "-s", "api.host=192.0.2.1", "-s", "api.key=k-1", "api"
    )
    assert got.code == 1
    assert "cannot listen on 192.0.2.1:5555" in got.err


def test_a_misspelt_route_is_refused_before_anything_starts(tmp_path: Path) -> None:
    for key in ("forward.route", "api.proxy", "fetcher.proxy"):
        got = run(tmp_path, "-s", f"{key}=pol", "api")
        assert (got.code, got.out) == (2, "")
        assert f"{key}: pol is none of our words: did you mean pool?" in got.err


@pytest.mark.parametrize("words", [["all"], ["pool"], ["all", "--workers", "2"]])
def test_a_redis_that_is_not_there_is_one_line_and_the_end(
    tmp_path: Path, words: list[str]
) -> None:
    got = run(tmp_path, *FREE, "--redis", "redis://:secret@127.0.0.1:1/0", *words)
    assert (got.code, got.out) == (1, "")
    assert got.err == (
        "fetchpool: redis.url: redis://:***@127.0.0.1:1/0 cannot be reached: Connection refused."
        " Start a Redis there, or name another one with --redis URL; --redis embedded takes one of"
        " fetchpool's own\n"
    )


SETTINGS = {
    "api": {"port": 0},
    "forward": {"port": 0},
    "pool": {
        "check": {"enabled": False},
        "sources": [{"name": name, "url": "http://127.0.0.1:9/"} for name in "ab"],
    },
}


def test_on_a_terminal_the_pool_fills_in_one_line_that_leaves_log_lines_whole(
    tmp_path: Path,
) -> None:
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(SETTINGS))
    with RedisServer.start(tmp_path, tcp=True) as server:
        got, code = run_on_terminal(
            tmp_path, ["--redis", server.url], until=b"(2 failed), 0", width="120"
        )
    assert code == 0
    lines = shown(got)
    down = "none of the 2 sources can be reached: http://127.0.0.1:9/: "
    [told] = [line for line in lines if "WARNING" in line]
    assert re.match(r"\d{4}-.* WARNING pool.harvest.harvester: " + re.escape(down), told)
    assert "Proxy pool   proxies:universal, 2 sources" in lines
    first = next(index for index, line in enumerate(lines) if "found, " in line)
    assert lines[first].startswith("0 found, 0 checked, 0 good, 0 of 2 sources read")
    assert all(lines.index(line) < first for line in lines if line.startswith("Proxy pool"))
    assert lines[-1].endswith("fetchpool.commands.serve: stopped")
    assert "found" not in lines[-1]


def run_on_terminal(folder: Path, words: list[str], *, until: bytes, width: str) -> tuple[str, int]:
    """What a service says on a terminal of its own, and its exit code: it gets Ctrl-C when it has
    said `until`."""
    inner, outer = os.openpty()
    env = environment(COLUMNS=width, TERM="xterm")
    del env["NO_COLOR"]
    program = "import os, fcntl, termios, sys; fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
    program += "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    process = subprocess.Popen(
        [sys.executable, "-c", program, MAIN, *words],
        cwd=folder,
        env=env,
        stdin=outer,
        stdout=outer,
        stderr=outer,
        start_new_session=True,
    )
    os.close(outer)
    got, is_told = b"", False
    try:
        while True:
            if not is_told and until in got:
                os.write(inner, b"\x03")
                is_told = True
            got += os.read(inner, 65536)
    except OSError:  # the last one has closed it
        return got.decode(), process.wait(20)
    finally:
        os.close(inner)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait()
