import asyncio
import json
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from fetcher import VERSION
from tests.farm import Origin
from tests.fetchpool.command import MAIN, environment, run

pytestmark = pytest.mark.timeout(60)

COMMANDS = (
    "", "all", "fetcher", "pool", "api", "fetch", "queue", "proxies", "sources", "config",
)  # fmt: skip
SOURCES = ("sources list", "sources test")
PROXIES = tuple(
    f"proxies {name}" for name in ("list", "add", "check", "remove", "export", "import")
)
QUEUE = ("queue status", "queue push", "queue pull", "queue dead")


@pytest.mark.parametrize("words", [*COMMANDS, *QUEUE, *PROXIES, *SOURCES])
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_every_command_explains_itself(tmp_path: Path, words: str, flag: str) -> None:
    got = run(tmp_path, *words.split(), flag)
    assert (got.code, got.err) == (0, "")
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
        (["--workers", "0"], "0 is not in the range 1<=x<=256"),
        (["all", "--workers", "-1"], "-1 is not in the range"),
        (["fetcher", "--workers", "257"], "257 is not in the range"),
        (["api", "--workers", "two"], "'two' is not a valid integer"),
        (["pool", "--workers", "2"], "No such option"),
        (["--workers", "2", "pool"], "--workers is for all, fetcher, api, not for pool"),
        (["--workers", "2", "queue", "status"], "not for queue"),
        (["--redis", "redis+cluster://127.0.0.1:1", "api", "--workers", "2"], "not supported yet"),
        (["fetch"], "Missing argument 'URL...'"),
        (["fetch", "--timeout", "soon", "x"], "'soon' is not a valid float"),
        (["fetch", "--timeout", "-1", "x"], "-1.0 is not in the range"),
        (["queue"], "Usage: fetchpool queue"),
        (["queue", "nonsense"], "No such command 'nonsense'"),
        (["queue", "push"], "Missing argument 'FILE'"),
        (["queue", "push", "missing.txt"], "missing.txt"),
        (["queue", "pull", "-n", "0"], "0 is not in the range"),
        (["queue", "pull", "-n", "x"], "'x' is not a valid integer"),
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
    got = run(tmp_path, *words)
    assert (got.code, got.out) == (2, "")
    assert said in got.err
    assert "secret" not in got.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("fetcher: {poolsise: 3}", "fetcher.poolsise"),
        ("fetcher: {poolsize: many}", "fetcher.poolsize"),
        ("nonsense: 1", "nonsense"),
        ("- 1", "config.yaml"),
        ("a: [", "config.yaml"),
        ("redis: {url: '${NOWHERE_TO_BE_FOUND}'}", "NOWHERE_TO_BE_FOUND"),
    ],
)
def test_what_is_wrong_in_the_file_is_named_by_its_path(
    tmp_path: Path, text: str, said: str
) -> None:
    (tmp_path / "config.yaml").write_text(text)
    got = run(tmp_path)
    assert (got.code, got.out) == (2, "")
    assert said in got.err


def test_the_file_of_this_folder_is_read_and_overridden(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("fetcher: {poolsize: 7, retries: 1}\n")
    got = run(tmp_path, "-s", "fetcher.retries=2", "--log-level", "debug", "config")
    assert (got.code, got.err) == (0, "")
    for line in (r"poolsize.*\b7\b.*config\.yaml", r"retries.*\b2\b.*-s", r"level.*debug"):
        assert re.search(line, got.out), got.out


def test_the_settings_are_shown_without_their_secrets(tmp_path: Path) -> None:
    overrides = [
        "api.key=secret-1",
        "api.keys={me: secret-2}",
        "fetcher.proxy=http://user:secret-3@127.0.0.1:8080",
        "pool.proxies=['http://user:secret-4@127.0.0.1:8080']",
        "forward.key=secret-5",
    ]
    words = [word for one in overrides for word in ("-s", one)]
    got = run(tmp_path, *words, "--redis", "redis://:secret-6@127.0.0.1:6379/0", "config")
    assert got.code == 0
    assert "secret-" not in got.out + got.err
    assert "***" in got.out


@pytest.mark.parametrize("words", [["all"], ["api"]])
def test_a_port_in_use_is_said_in_a_sentence(tmp_path: Path, words: list[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        got = run(tmp_path, "-s", f"api.port={port}", *words)
    assert got.code == 1
    assert f"api.host, api.port: cannot listen on 127.0.0.1:{port}" in got.err
    assert "in use" in got.err
    assert "-s api.port=PORT" in got.err


def test_an_address_that_is_not_ours_is_said_in_a_sentence(tmp_path: Path) -> None:
    got = run(tmp_path, "-s", "api.host=192.0.2.1", "-s", "api.key=k-1", "api")
    assert got.code == 1
    assert "cannot listen on 192.0.2.1:5555" in got.err


def test_a_redis_that_is_away_is_said_in_a_sentence(tmp_path: Path) -> None:
    got = run(tmp_path, "--redis", "redis://:secret@127.0.0.1:1/0", "queue", "status")
    assert (got.code, got.out) == (1, "")
    assert "fetchpool: Redis failed: Error 111" in got.err
    assert "secret" not in got.err


def test_no_redis_server_is_said_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where the folder should be")
    got = run(tmp_path, "queue", "status")
    assert got.code == 1
    assert "fetchpool: embedded Redis in data" in got.err


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


def test_tasks_go_round_through_the_embedded_redis(tmp_path: Path) -> None:
    tasks = b'# a comment\n\nhttp://127.0.0.1/a\n{"taskid": "t", "url": "data:,b", "extra": 1}\n'
    (tmp_path / "tasks").write_bytes(tasks)
    pushed = run(tmp_path, "queue", "push", "tasks")
    assert (pushed.code, pushed.out, pushed.err) == (0, "2 pushed to scheduler2fetcher\n", "")
    assert run(tmp_path, "queue", "push", "-", stdin=b"data:,c").out.startswith("1 pushed")
    status = run(tmp_path, "queue", "status")
    sizes = dict(line.split() for line in status.out.splitlines())
    assert sizes == {
        "scheduler2fetcher": "3",
        "leased": "0",
        "fetcher2processor": "0",
        "fetcher_dead": "0",
    }
    for words in (["pull"], ["pull", "-n", "5"], ["dead"], ["dead", "-n", "5"]):
        empty = run(tmp_path, "queue", *words)
        assert (empty.code, empty.out, empty.err) == (0, "", "")
    back = run(tmp_path, "-s", "queue={in: a, out: scheduler2fetcher}", "queue", "pull", "-n", "9")
    url, task, inline = (json.loads(line) for line in back.out.splitlines())
    assert url == {"taskid": "3", "project": "fetchpool", "url": "http://127.0.0.1/a", "fetch": {}}
    assert task == {"taskid": "t", "url": "data:,b", "extra": 1}
    assert inline["url"] == "data:,c"


@pytest.mark.parametrize("line", [b'{"url": 1}', b"{", b"[1]", b"\xff"])
def test_a_line_that_is_no_task_is_named(tmp_path: Path, line: bytes) -> None:
    got = run(tmp_path, "queue", "push", "-", stdin=b"data:,a\n" + line)
    assert (got.code, got.out) == (2, "")
    assert "fetchpool: line 2: neither a URL nor a JSON task" in got.err
