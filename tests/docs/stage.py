"""Where the blocks of all documents are run: one demo service, and a folder for each document."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import yaml

from fetchpool.redis.embedded import socket_path
from tests.docs.blocks import ROOT
from tests.redis_server import poll

DEADLINE: Final = 30.0  # seconds for any one command
START: Final = 45.0  # seconds until the pool knows its proxies

FORWARD: Final = "127.0.0.1:5556"  # a block that names it goes through the forward proxy

_API: Final = re.compile(r"curl '?(http://127\.0\.0\.1:\d+)/random")
_SITE: Final = re.compile(r"the site +(http://127\.0\.0\.1:\d+)")
_KNOWN: Final = re.compile(r"^\$ curl '", re.MULTILINE)  # what it types once all is known
_SETTINGS: Final = re.compile(r"FETCHPOOL_CONFIG=(\S+\.yaml)")

_FETCHPOOL: Final = """\
#!/bin/sh
exec '{python}' '{main}' "$@"
"""

_REDIS_CLI: Final = """\
#!/bin/sh
# redis-cli, which finds the demo's Redis where others find theirs.
exec '{redis_cli}' -s '{socket}' "$@"
"""


class Ran(NamedTuple):
    """How a process ended, and what it said on both of its channels."""

    code: int | None  # None: it did not end in time
    said: str


class Stage:
    """`with Stage.set_up(folder) as stage`: the demo runs, and its pool is known."""

    def __init__(self, folder: Path, api: str, site: str, web: str, settings: Path) -> None:
        self.folder = folder
        tree = yaml.safe_load(settings.read_text())
        self.socket = socket_path(Path(tree["redis"]["data_dir"]))
        trusts = ("CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
        self._known = {
            **dict.fromkeys(trusts, tree["fetcher"]["ca_file"] or ""),
            "no_proxy": "127.0.0.1",
        }
        self._written: Mapping[str, str] = {
            "http://127.0.0.1:8900": site,
            "127.0.0.1:8900": site.partition("://")[2],
            "localhost:8901": f"localhost:{web}",
            "127.0.0.1:5555": api.partition("://")[2],
            "https://example.com": site,
            "http://example.com": site,
            "redis://127.0.0.1:6379/0": f"unix://{self.socket}",
        }
        self._forwarded: Mapping[str, str] = {
            **self._written,
            FORWARD: f"127.0.0.1:{tree.get('forward', {}).get('port', 5556)}",
            "https://example.com": "https://example.localhost",
            "http://example.com": "http://example.localhost",
        }
        self._trap = socket.socket()  # bound, and listening to nobody
        self._trap.bind(("127.0.0.1", 0))
        self._left: list[subprocess.Popen[bytes]] = []
        self._settings = settings
        self._write_programs()

    @classmethod
    @contextlib.contextmanager
    def set_up(cls, folder: Path) -> Iterator[Self]:
        said = folder / "demo.log"
        with said.open("wb") as file:
            demo = subprocess.Popen(
                [sys.executable, "-u", "main.py", "demo"],
                cwd=ROOT,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            _wait(lambda: _SETTINGS.search(said.read_text()), demo, said)
            found = [one.search(said.read_text()) for one in (_API, _SITE, _SETTINGS)]
            api, site, settings = [one[1] for one in found if one]
            _wait(lambda: _KNOWN.search(said.read_text()), demo, said)
            with _serve_web() as web:
                stage = cls(folder, api, site, web, Path(settings))
                try:
                    yield stage
                finally:
                    stage.close()
        finally:
            demo.send_signal(signal.SIGINT)
            try:
                demo.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                demo.kill()
                demo.wait()
        assert "Traceback" not in said.read_text(), said.read_text()

    def close(self) -> None:
        for process in self._left:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        self._trap.close()

    def place(self, text: str, *, forwarded: bool = False) -> str:
        """The text with the addresses of this run in place of those that documents name.

        `forwarded`: it goes through the forward proxy, where a name is nothing that is looked up.
        """
        written = self._forwarded if forwarded else self._written
        pattern = "|".join(map(re.escape, written))
        return re.sub(pattern, lambda found: written[found[0]], text)

    def find_folder(self, document: str) -> Path:
        folder = self.folder / document.replace("/", "-").removesuffix(".md")
        folder.mkdir(exist_ok=True)
        return folder

    def run(
        self, folder: Path, words: list[str], *, stays: bool = False, forwarded: bool = False
    ) -> Ran:
        """Run a program in a document's folder; `stays`: what it has started goes on. `forwarded`:
        for it, names of this machine go through proxies too, and the site's certificate is known.
        """
        with tempfile.TemporaryFile() as output:
            process = subprocess.Popen(
                words,
                cwd=folder,
                env=self._environment() | (self._known if forwarded else {}),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            if stays:
                self._left.append(process)
            try:
                code: int | None = process.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                code = None
            output.seek(0)
            return Ran(code, output.read().decode(errors="replace"))

    def _environment(self) -> dict[str, str]:
        """Whoever goes by a proxy finds none: nothing gets beyond loopback."""
        nowhere = f"http://127.0.0.1:{self._trap.getsockname()[1]}"
        names = ("http_proxy", "https_proxy", "all_proxy")
        path = (str(self.folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"])
        return _environment(
            **dict.fromkeys(names, nowhere),
            no_proxy="127.0.0.1,localhost",
            PATH=":".join(path),
            PYTHONPATH=str(ROOT),
            FETCHPOOL_CONFIG=str(self._settings),
            HOME=str(self.folder / "home"),
            CURL_HOME=str(self.folder / "home"),
        )

    def _write_programs(self) -> None:
        bin_, home = self.folder / "bin", self.folder / "home"
        bin_.mkdir()
        home.mkdir()
        (home / ".curlrc").write_text("silent\nshow-error\n")  # no progress, as on a terminal
        main = ROOT / "main.py"
        programs = {
            "fetchpool": _FETCHPOOL.format(python=sys.executable, main=main),
            "redis-cli": _REDIS_CLI.format(redis_cli=shutil.which("redis-cli"), socket=self.socket),
        }
        for name, text in programs.items():
            (bin_ / name).write_text(text)
            (bin_ / name).chmod(0o755)


@contextlib.contextmanager
def _serve_web() -> Iterator[str]:
    """The small web for crawls; its port."""
    words = [sys.executable, "-m", "tests.web", "--hosts", "50", "--pages", "20"]
    with subprocess.Popen(
        words,
        cwd=ROOT,
        env=_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as web:
        assert web.stdout is not None
        yield web.stdout.readline().strip()  # it ends with its standard input, which closes here


def _environment(**more: str) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.lower().endswith("_proxy")
        and not name.startswith(("PYTHON", "PYTEST", "FETCHPOOL"))
    }
    return {**kept, "NO_COLOR": "1", "COLUMNS": "100", "LC_ALL": "C.UTF-8", **more}


def _wait(condition: Any, demo: "subprocess.Popen[bytes]", said: Path) -> None:
    def look() -> Any:
        assert demo.poll() is None, said.read_text()
        return condition()

    poll(look, "the demo; it said: " + said.read_text()[-2000:], START)
