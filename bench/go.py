"""Go's own HTTP client as a peer, one processor to itself; built where Go is installed."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from bench.measure import MEASURED, PATIENCE, ROOT, Sample, pin
from bench.peers import AT_ONCE

SOURCE: Final = ROOT / "bench/go_client.go"
MISSING: Final = "no go here: apt-get install golang-go"
# One file of the standard library's, so nothing is asked of the network.
SETTINGS: Final = {"GO111MODULE": "off", "GOPROXY": "off", "GOTOOLCHAIN": "local"}


@contextlib.contextmanager
def client() -> Iterator[Path | None]:
    """The program, in a folder of its own; None without a compiler."""
    compiler = shutil.which("go")
    if compiler is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        program = Path(name, "go_client")
        settings = {"GOCACHE": f"{name}/cache", "GOPATH": f"{name}/path"}
        subprocess.run(
            [compiler, "build", "-o", str(program), str(SOURCE)],
            env={**os.environ, **settings, **SETTINGS},
            stdin=subprocess.DEVNULL,
            timeout=PATIENCE,
            check=True,
        )
        yield program


def run(program: Path, url: str, count: int) -> Sample:
    done = subprocess.run(
        [str(program), url, str(count), str(AT_ONCE)],
        env={"GOMAXPROCS": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        timeout=PATIENCE,
        check=True,
        preexec_fn=pin(MEASURED),
    )
    return msgspec.json.decode(done.stdout, type=Sample)


def version() -> str:
    compiler = shutil.which("go")
    if compiler is None:
        return "no Go"
    said = subprocess.run([compiler, "version"], capture_output=True, text=True, timeout=10)
    return f"Go {said.stdout.split()[2].removeprefix('go')}"
