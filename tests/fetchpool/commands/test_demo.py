import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from fetchpool.commands.demo import API as API_PORT
from fetchpool.commands.demo import (
    FAREWELL,
    SITE,
    Demo,
    choose_port,
    explain,
    explain_way,
    shorten,
)
from fetchpool.farm import Farm, Kind
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
    redis = SOCKET.search(output.read_text())
    assert redis is not None and is_answering(redis[1])
    service = child_of(demo.pid)
    demo.send_signal(number)
    assert demo.wait(30) == 0
    assert_gone(service, redis[1])
    assert output.read_text().count(FAREWELL) == 1
    assert "Traceback" not in output.read_text()


def test_a_service_that_ends_by_itself_ends_the_demo(tmp_path: Path) -> None:
    output = tmp_path / "said"
    demo = start(output)
    poll(lambda: API.search(output.read_text()), "the service to listen", 40)
    redis = SOCKET.search(output.read_text())
    assert redis is not None
    service = child_of(demo.pid)
    os.kill(service, signal.SIGKILL)
    assert demo.wait(30) == 1
    assert_gone(service, redis[1])
    assert "the service has ended with -9" in output.read_text()


# -- what it says ----------------------------------------------------------------------------------


async def test_ports_that_are_taken_are_named_with_those_in_their_place(tmp_path: Path) -> None:
    async with Farm({}, tls=False) as farm:
        demo = Demo(farm, tmp_path, ["python", "main.py"], [])
        demo.port = API_PORT + 1
        said = list(explain(demo))
        assert f"port {SITE} is taken, so the site is at {farm.origin.port}" in said
        assert f"port {API_PORT} is taken, so the API is at {demo.port}" in said
        demo.port = API_PORT
        assert not any("the API is at" in line for line in explain(demo))


def test_a_port_that_is_taken_is_not_chosen() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert choose_port(port) not in (0, port)
    assert choose_port(port) == port


@pytest.mark.parametrize(
    ("kind", "lines"), [(Kind.GOOD, 1), (Kind.TAMPERING, 2), (Kind.ALTERING, 2)]
)
async def test_a_page_that_may_be_altered_has_a_warning_behind_it(kind: Kind, lines: int) -> None:
    async with Farm({kind: 1}, tls=False) as farm:
        said = list(explain_way(farm, farm.one(kind).url(), "3"))
    assert said[0].endswith("attempts: 3)")
    assert said[1:] == ["(that proxy alters pages: see the table)"][: lines - 1]


@pytest.mark.parametrize("path", ["here", "elsewhere"])
def test_what_is_to_be_typed_is_the_installed_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    program = ["/a/python", "main.py"]
    for folder in ("here", "elsewhere"):
        (tmp_path / folder).mkdir()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "here" / "python"))
    monkeypatch.setenv("PATH", str(tmp_path / path))
    assert shorten(program) == program
    for folder in ("here", "elsewhere"):
        installed = tmp_path / folder / "fetchpool"
        installed.touch(0o755)
    whole = str(tmp_path / "here" / "fetchpool")
    assert shorten(program) == ["fetchpool" if path == "here" else whole]


# -- processes -------------------------------------------------------------------------------------


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
