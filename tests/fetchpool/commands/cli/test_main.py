import asyncio
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fetcher import VERSION
from fetchpool.commands.cli.main import main
from fetchpool.farm import Origin
from tests.fetchpool.command import MAIN, environment, refuse, run

pytestmark = pytest.mark.timeout(60)

COMMANDS = (
    "", "all", "fetcher", "pool", "api", "fetch", "queue", "proxies", "sources", "config",
    "crawl", "crawls", "demo",
)  # fmt: skip
SOURCES = ("sources list", "sources test")
PROXIES = tuple(
    f"proxies {name}" for name in ("list", "add", "check", "remove", "export", "import")
)
CRAWLS = tuple(
    f"crawls {name}"
    for name in ("list", "show", "pause", "continue", "stop", "set", "why", "audit", "remove")
)
QUEUE = ("queue status", "queue push", "queue pull", "queue dead")


@pytest.mark.parametrize("words", [*COMMANDS, *CRAWLS, *QUEUE, *PROXIES, *SOURCES])
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_every_command_explains_itself(
    tmp_path: Path,
    words: str,
    flag: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In this process: sixty starts of an interpreter take their time, and others do that."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["fetchpool", *words.split(), flag])
    with pytest.raises(SystemExit) as ended:
        main()
    got = capsys.readouterr()
    assert (ended.value.code, got.err) == (0, "")
    assert got.out.startswith(f"Usage: fetchpool {words.split()[0] if words else '[OPTIONS]'}")
    assert list(tmp_path.iterdir()) == []


def test_the_help_names_every_command(tmp_path: Path) -> None:
    listed = re.findall(r"^  (\w+)  ", run(tmp_path, "--help").out, re.MULTILINE)
    assert listed == sorted(name for name in COMMANDS if name)


def test_the_version_is_told(tmp_path: Path) -> None:
    assert run(tmp_path, "--version").out == f"fetchpool, version {VERSION}\n"


def test_python_can_run_the_package_as_well(tmp_path: Path) -> None:
    got = subprocess.run(
        [sys.executable, "-m", "fetchpool", "--version"],
        cwd=tmp_path,
        env=environment(PYTHONPATH=str(MAIN.parent)),
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert (got.returncode, got.stdout.decode()) == (0, f"fetchpool, version {VERSION}\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["--nonsense"], "No such option"),
        (["-c", "missing.yaml", "config"], "missing.yaml: there is no such file"),
        (["-c", ".", "config"], ".: cannot be read"),
        (["-s", "nonsense", "config"], "nonsense"),
        (["-s", "api.prot=1", "config"], "api.prot"),
        (["-s", "api.port=x", "config"], "api.port"),
        (["-s", "api.port=65536"], "api.port"),
        (["-s", "api.port=[", "config"], "api.port"),
        (["--redis", "nonsense", "config"], "redis.url"),
        (["--redis", "http://127.0.0.1", "config"], "redis.url"),
        (["--redis", "redis://user:secret@127.0.0.1:0"], "redis.url"),
        (["--log-level", "loud", "config"], "log.level"),
        (["-s", "api.host=0.0.0.0"], "api.key"),
        (["-s", "forward.host='::'"], "forward.key"),
        (["-s", "fetcher.rpc={enabled: true, host: 192.0.2.1}"], "fetcher.rpc.key"),
    ],
)
def test_wrong_usage_is_two_and_a_sentence(tmp_path: Path, words: list[str], said: str) -> None:
    refuse(tmp_path, words, said)


async def test_who_reads_only_the_beginning_gets_no_complaint(tmp_path: Path) -> None:
    async with Origin() as origin:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, MAIN, "fetch", f"{origin.url}/bytes/3000000"),
            cwd=tmp_path,
            env=environment(),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stdout
        assert process.stderr
        await process.stdout.readexactly(10)
        process.stdout._transport.close()  # type: ignore[attr-defined]
        assert (await process.stderr.read(), await process.wait()) == (b"", 1)


HEAVY = {"asyncio", "lxml", "pycurl", "pyquery", "redis", "tornado", "uvloop"}


@pytest.mark.parametrize(
    ("words", "needed"),
    [
        (["--help"], set()),
        (["proxies", "check", "--help"], set()),
        (["config"], {"lxml", "pyquery"}),
        (["crawl", "--help"], set()),
        (["crawl", "missing.txt"], set()),
        (["crawls", "set", "mine"], set()),
        (["nonsense"], set()),
        (["-s", "api.prot=1"], set()),
        (["-s", "api.prot=1", "fetch", "data:,x"], set()),
        (["fetch", "data:,x"], {"asyncio", "pycurl", "tornado", "uvloop"}),
        (["-s", "api.prot=1", "proxies", "list"], set()),
        (["-s", "pool.sources=[{name: a, url: 'http://a/', select: {row: '[', host: a}}]"],
         {"lxml", "pyquery"}),
        (["--redis", "redis://127.0.0.1:1/0", "queue", "status"], {"asyncio", "redis", "uvloop"}),
    ],
)  # fmt: skip
def test_a_command_imports_only_what_it_needs(
    tmp_path: Path, words: list[str], needed: set[str]
) -> None:
    ended = subprocess.run(
        [sys.executable, "-X", "importtime", MAIN, *words],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    lines = (line for line in ended.stderr.splitlines() if line.startswith("import time:"))
    imported = {line.rpartition("|")[2].strip() for line in lines}
    assert HEAVY & imported == needed


def test_a_variable_may_name_the_settings(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("queue: {in: mine}")
    (tmp_path / "other.yaml").write_text("queue: {in: other}")
    mine = str(tmp_path / "mine.yaml")
    got = run(tmp_path, "config", FETCHPOOL_CONFIG=mine)
    assert "  in: mine  # mine.yaml\n" in got.out
    got = run(tmp_path, "-c", "other.yaml", "config", FETCHPOOL_CONFIG=mine)
    assert "  in: other  # other.yaml\n" in got.out
    got = run(tmp_path, "queue", "status", FETCHPOOL_CONFIG="/gone/demo.yaml")
    assert (got.code, got.out) == (2, "")
    assert got.err.startswith("fetchpool: FETCHPOOL_CONFIG names /gone/demo.yaml, and there is no")
