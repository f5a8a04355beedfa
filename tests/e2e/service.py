"""`python main.py` as a child process: start it, ask it, end it in every way there is."""

import http.client
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple, Self

import yaml
from redis import Redis

from fetchpool.redis.embedded import socket_path
from tests.fetchpool.command import MAIN, environment
from tests.redis_server import is_answering, poll

LISTENING = re.compile(r"^HTTP API +http://127\.0\.0\.1:(\d+)/", re.MULTILINE)


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]  # names in lower case
    body: bytes


class ServiceProcess:
    """The service of the folder, whose `config.yaml` is written from `settings` on the first start.

    It has an embedded Redis in `folder/data`. `words` are more of its command line.
    """

    program = MAIN

    def __init__(self, folder: Path, *words: str, **settings: object) -> None:
        self.folder = folder
        self._words = words
        (folder / "config.yaml").write_text(
            yaml.safe_dump({"api": {"port": 0}, "forward": {"port": 0}, **settings})
        )
        self.socket = str(socket_path((folder / "data").resolve()))

    def start(self) -> Self:
        """Return when it has said where it listens."""
        log = self.folder / "service.log"
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-u", self.program, *self._words],
                cwd=self.folder,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        poll(self._is_listening, f"the service to listen; see {log}", 20)
        found = LISTENING.search(self.said)
        assert found
        self.port = int(found[1])
        return self

    def _is_listening(self) -> bool:
        assert self.process.poll() is None, self.said
        return LISTENING.search(self.said) is not None

    @property
    def said(self) -> str:
        """What it wrote since its last start."""
        return (self.folder / "service.log").read_text(errors="replace")

    def get(self, path: str, key: str | None = None) -> Answer:
        fields = {"API-KEY": key} if key is not None else {}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("GET", path, headers=fields)
            answer = connection.getresponse()
            headers = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, headers, answer.read())
        finally:
            connection.close()

    def redis(self) -> Redis:
        return Redis(unix_socket_path=self.socket)

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        """Its exit code, after at most 20 s."""
        return self.process.wait(20)

    def kill(self) -> None:
        self.process.kill()
        self.wait()

    def wait_for_redis_to_end(self) -> None:
        poll(lambda: not is_answering(self.socket), "the embedded Redis to end", 20)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if hasattr(self, "process") and self.process.poll() is None:
            self.kill()
        self.wait_for_redis_to_end()
