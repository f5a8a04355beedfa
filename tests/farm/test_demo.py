import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fetchpool.command import MAIN, environment
from tests.redis_server import is_answering, poll

pytestmark = pytest.mark.timeout(90)

ROOT = Path(MAIN).parent
API = re.compile(r"^HTTP API +http://127\.0\.0\.1:(\d+)/", re.MULTILINE)
SOCKET = re.compile(r"at unix://(\S+)")


def start(output: Path, *words: str) -> "subprocess.Popen[bytes]":
    with output.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, "-u", "-m", "tests.farm.demo", *words],
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )


def test_the_demo_finds_the_good_ones_and_shows_them(tmp_path: Path) -> None:
    output = tmp_path / "said"
    assert start(output, "--seconds", "12").wait(60) == 0
    said = output.read_text()
    good = json.loads(said.splitlines()[-1])
    assert {kind: good[kind] for kind in ("good", "slow", "socks5")} == {
        "good": 8, "slow": 3, "socks5": 2,
    }  # fmt: skip
    bad = ("hanging", "refusing", "garbage", "portal", "truncating", "auth", "endless")
    assert {kind: good[kind] for kind in bad} == dict.fromkeys(bad, 0)
    assert re.search(r"^\$ curl '\S+/fetch\?url=\S+'\n", said, re.MULTILINE)
    assert "Traceback" not in said


def test_ctrl_c_ends_farm_service_and_redis(tmp_path: Path) -> None:
    output = tmp_path / "said"
    demo = start(output)
    poll(lambda: API.search(output.read_text()), "the service to listen", 40)
    socket = SOCKET.search(output.read_text())
    assert socket is not None and is_answering(socket[1])
    demo.send_signal(signal.SIGINT)
    assert demo.wait(30) == 0
    assert not is_answering(socket[1])
    assert "Traceback" not in output.read_text()


def test_a_service_that_ends_by_itself_ends_the_demo(tmp_path: Path) -> None:
    output = tmp_path / "said"
    demo = start(output)
    poll(lambda: API.search(output.read_text()), "the service to listen", 40)
    children = Path(f"/proc/{demo.pid}/task/{demo.pid}/children").read_text().split()
    [service] = [pid for pid in map(int, children) if b"main.py" in command_of(pid)]
    subprocess.run(["kill", "-KILL", str(service)], check=True)
    assert demo.wait(30) == 1
    assert "the service has ended with -9" in output.read_text()


def command_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()
