import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
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
    find_port,
    read_ports,
    shorten,
)
from fetchpool.commands.demo import PROXY as PROXY_PORT
from fetchpool.config.settings import SettingsError, parse_override
from fetchpool.farm import Farm, Kind
from tests import ports
from tests.fetchpool.command import MAIN, environment
from tests.redis_server import is_answering, poll

pytestmark = pytest.mark.timeout(90)

ROOT = Path(MAIN).parent
API = re.compile(r"^HTTP API +http://127\.0\.0\.1:(\d+)/", re.MULTILINE)
SOCKET = re.compile(r"at unix://(\S+)")


def start(output: Path, *words: str, options: Sequence[str] = ()) -> "subprocess.Popen[bytes]":
    with output.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, "-u", "main.py", *options, "demo", *words],
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )


def test_the_demo_finds_out_what_each_kind_is(tmp_path: Path) -> None:
    output = tmp_path / "said"
    api, forward = ports.find_port(), ports.find_port()
    options = ["-s", f"api.port={api}", "-s", f"forward.port={forward}"]
    assert start(output, "--once", options=options).wait(60) == 0
    said = output.read_text()
    assert f"  curl http://127.0.0.1:{api}/random\n" in said
    assert f"  curl -i -x http://127.0.0.1:{forward} http://example.com/ip\n" in said
    assert not re.search(r":(5555|5556)\b|so the (API|forward proxy) is at", said)
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


async def test_ports_that_are_given_are_those_of_the_settings_and_the_hints(
    tmp_path: Path,
) -> None:
    overrides = [parse_override("api.port=15755"), parse_override("forward={port: 15756}")]
    async with Farm({}, tls=False) as farm:
        demo = Demo(farm, tmp_path, ["python", "main.py"], [], overrides)
        demo.write_settings()
        said = "\n".join(explain(demo))
    written = demo.settings.read_text()
    assert "public_url: http://127.0.0.1:15755\n" in written
    assert {"port: 15755", "port: 15756"} <= {line.strip() for line in written.splitlines()}
    assert "curl http://127.0.0.1:15755/random" in said
    assert "-x http://127.0.0.1:15756 " in said
    assert not re.search(r":5555\b", said)
    assert "so the API" not in said


@pytest.mark.parametrize(
    ("sets", "ports"),
    [
        ([], {}),
        (["log.level=debug", "api.rate=5"], {}),
        (["api.port=1", "api.port=65535"], {"api": 65535}),
        (["api={port: 0}", "forward.port=7"], {"api": 0, "forward": 7}),
        (["api=5"], {}),  # the service refuses it
    ],
)
def test_the_ports_that_are_given_are_read(sets: list[str], ports: dict[str, int]) -> None:
    assert read_ports([parse_override(one) for one in sets]) == ports


@pytest.mark.parametrize("value", ["-1", "65536", "many"])
def test_a_port_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(SettingsError, match=r"^api\.port: expected a port from 1 to 65535"):
        read_ports([parse_override(f"api.port={value}")])


def test_a_port_is_the_given_one_or_a_free_one_that_no_other_entrance_has() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert find_port(port, API_PORT, None) == port
        assert find_port(None, port, None) not in (0, port)
    assert find_port(None, port, None) == port
    assert find_port(None, port, port) not in (0, port)
    assert find_port(0, port, PROXY_PORT) not in (0, port)


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
