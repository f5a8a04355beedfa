import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fetchpool.command import MAIN, environment
from tests.redis_server import RedisServer

WAITS = """
import sys, time
from fetchpool.serve.interrupts import end_at_once, heeded
end_at_once()
def tell():
    print("ready", flush=True)
    sys.stdin.read()
{}
"""
HEEDED = """
try:
    with heeded():
        tell()
except KeyboardInterrupt:
    print("tidy")
"""
AFTER = "with heeded(): pass\ntell()"
INSIDE = (
    "with heeded():\n with heeded(): pass\n try: tell()\n except KeyboardInterrupt: print('tidy')"
)


@pytest.mark.parametrize(
    ("program", "code", "said"),
    [
        ("tell()", -signal.SIGINT, ""),
        (AFTER, -signal.SIGINT, ""),
        (HEEDED, 0, "tidy\n"),
        (INSIDE, 0, "tidy\n"),
    ],
)
def test_it_is_an_exception_only_while_there_is_something_to_tidy(
    program: str, code: int, said: str
) -> None:
    assert interrupt(program) == (code, said, "")


def test_one_that_is_ignored_stays_so() -> None:
    program = """
import signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
end_at_once()
with heeded():
    signal.raise_signal(signal.SIGINT)
tell()
"""
    assert interrupt(program) == (0, "", "")


def interrupt(program: str) -> tuple[int, str, str]:
    """How it ends on a SIGINT once it is ready, and what it has said since."""
    process = subprocess.Popen(
        [sys.executable, "-c", WAITS.format(program)],
        cwd=MAIN.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=10)
    return process.returncode, out, err


SERVICE = (
    *("-s", "api.port=0"),
    *("-s", "forward.port=0"),
    *("-s", "pool.sources=[]", "-s", "pool.check.enabled=false"),
)
HELP = ("fetchpool.serve.interrupts", "click", "msgspec", "yaml", "fetchpool.commands.cli.main")
LATER = (
    *("asyncio", "fetcher.errors", "pycurl", "lxml.etree", "tornado.web", "redis"),
    *("fetchpool.serve.service", "uvloop"),
)


@pytest.mark.parametrize(
    ("module", "words"),
    [*((module, ("--help",)) for module in HELP), *((module, SERVICE) for module in LATER)],
)
def test_a_start_that_is_interrupted_says_nothing(
    tmp_path: Path, module: str, words: tuple[str, ...]
) -> None:
    """It is interrupted when it has imported `module`, or a little later."""
    with RedisServer.start(tmp_path, tcp=True) as server:
        process = subprocess.Popen(
            [sys.executable, "-X", "importtime", MAIN, "--redis", server.url, *words],
            cwd=tmp_path,
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr
        for line in process.stderr:
            if line.rpartition("|")[2].strip() == module:
                break
        else:
            raise AssertionError(f"{module} is never imported")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    said = [line for line in err.splitlines() if not line.startswith("import time:")]
    assert not [line for line in said if "Traceback" in line or "ignored" in line], said
    assert process.returncode in (-signal.SIGINT, 130, 0)
