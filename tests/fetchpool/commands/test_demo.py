import json
import os
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
            [sys.executable, "-u", "main.py", "demo", *words],
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )


def test_the_demo_finds_out_what_each_kind_is(tmp_path: Path) -> None:
    output = tmp_path / "said"
    assert start(output, "--once").wait(60) == 0
    said = output.read_text()
    rows = json.loads(said.splitlines()[-1])
    good = ("good", "slow", "socks5", "transparent", "other-exit")
    assert {kind: rows[kind]["good"] for kind in good} == {
        kind: rows[kind]["there"] for kind in good
    }
    bad = (
        "hanging",
        "refusing",
        "garbage",
        "portal",
        "echo-portal",
        "block-page",
        "truncating",
        "auth",
        "endless",
    )
    assert {kind: rows[kind]["good"] for kind in bad} == dict.fromkeys(bad, 0)
    assert {kind: rows[kind]["verdict"] for kind in ("good", "transparent", "refusing")} == {
        "good": "elite, CONNECT",
        "transparent": "transparent, CONNECT",
        "refusing": "fails: refused",
    }
    assert re.search(r"^transparent +1 +1 +0 +transparent, CONNECT$", said, re.MULTILINE)
    assert re.search(r"^\$ curl '\S+/fetch\?url=\S+'\n", said, re.MULTILINE)
    assert "Traceback" not in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_farm_service_and_redis(tmp_path: Path, number: signal.Signals) -> None:
    output = tmp_path / "said"
    demo = start(output)
    poll(lambda: API.search(output.read_text()), "the service to listen", 40)
    socket = SOCKET.search(output.read_text())
    assert socket is not None and is_answering(socket[1])
    service = child_of(demo.pid)
    demo.send_signal(number)
    assert demo.wait(30) == 0
    assert_gone(service, socket[1])
    assert "Traceback" not in output.read_text()


def test_a_service_that_ends_by_itself_ends_the_demo(tmp_path: Path) -> None:
    output = tmp_path / "said"
    demo = start(output)
    poll(lambda: API.search(output.read_text()), "the service to listen", 40)
    socket = SOCKET.search(output.read_text())
    assert socket is not None
    service = child_of(demo.pid)
    os.kill(service, signal.SIGKILL)
    assert demo.wait(30) == 1
    assert_gone(service, socket[1])
    assert "the service has ended with -9" in output.read_text()


def child_of(pid: int) -> int:
    """The service's process."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    [service] = [one for one in children if b"main.py" in Path(f"/proc/{one}/cmdline").read_bytes()]
    return int(service)


def assert_gone(service: int, socket: str) -> None:
    """The Redis of a service that was killed ends a moment after it."""
    assert not Path(f"/proc/{service}").exists()
    poll(lambda: not is_answering(socket), "the embedded Redis to end")
    poll(lambda: not Path(socket).parents[1].exists(), "the demo's folder to be gone")
