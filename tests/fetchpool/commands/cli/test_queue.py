import json
from pathlib import Path

import pytest

from fetchpool.commands.cli.queue import is_url
from tests.fetchpool.command import refuse, run

pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["queue"], "Usage: fetchpool queue"),
        (["queue", "nonsense"], "No such command 'nonsense'"),
        (["queue", "push"], "Missing argument 'FILE|URL'"),
        (["queue", "push", "missing.txt"], "missing.txt: No such file or directory"),
        (["queue", "push", "a.example"], "a.example: No such file or directory"),
        (["queue", "push", "nope://h/"], "line 1: neither a URL nor a JSON task: 'nope' is no"),
        (["queue", "push", "."], ".: is a folder, not a file"),
        (["queue", "pull", "-n", "0"], "'-n': 0 is too small: expected 1 or more"),
        (["queue", "dead", "--requeue"], "--requeue goes with the IDs"),
        (["queue", "dead", "0123"], "--requeue goes with the IDs"),
        (["queue", "pull", "-n", "x"], "'-n': 'x' is no whole number"),
    ],
)
def test_wrong_usage_is_two_and_a_sentence(tmp_path: Path, words: list[str], said: str) -> None:
    refuse(tmp_path, words, said)


def test_a_redis_that_is_away_is_said_in_a_sentence(tmp_path: Path) -> None:
    got = run(tmp_path, "--redis", "redis://:secret@127.0.0.1:1/0", "queue", "status")
    assert (got.code, got.out) == (1, "")
    [line] = got.err.splitlines()
    assert "fetchpool: redis.url: redis://:***@127.0.0.1:1/0 cannot be reached: Connection" in line
    assert "--redis URL" in line


def test_no_redis_server_is_said_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where the folder should be")
    got = run(tmp_path, "queue", "status")
    assert got.code == 1
    folder = tmp_path / "data"
    assert f"fetchpool: redis.data_dir: the folder {folder} cannot be used: it is no" in got.err


def test_tasks_go_round_through_the_embedded_redis(tmp_path: Path) -> None:
    tasks = b'# a comment\n\nhttp://127.0.0.1/a\n{"taskid": "t", "url": "data:,b", "extra": 1}\n'
    (tmp_path / "tasks").write_bytes(tasks)
    pushed = run(tmp_path, "queue", "push", "tasks")
    assert (pushed.code, pushed.out, pushed.err) == (0, "2 pushed to scheduler2fetcher\n", "")
    assert run(tmp_path, "queue", "push", "-", stdin=b"data:,c").out.startswith("1 pushed")
    status = run(tmp_path, "queue", "status")
    _, *rows = (line.split() for line in status.out.splitlines())
    assert {name: count for name, count, *_ in rows} == {
        "scheduler2fetcher": "3",
        "(leased)": "0",
        "fetcher2processor": "0",
        "fetcher_dead": "0",
    }
    for verb, said in (
        ("pull", "fetchpool: the queue fetcher2processor is empty: no result waits\n"),
        ("dead", "fetchpool: the queue fetcher_dead is empty: no task was given up\n"),
    ):
        empty = run(tmp_path, "queue", verb, "-n", "5")
        assert (empty.code, empty.out, empty.err) == (0, "", said)
    back = run(tmp_path, "-s", "queue={in: a, out: scheduler2fetcher}", "queue", "pull", "-n", "9")
    url, task, inline = (json.loads(line) for line in back.out.splitlines())
    assert url == {"taskid": "3", "project": "fetchpool", "url": "http://127.0.0.1/a", "fetch": {}}
    assert task == {"taskid": "t", "url": "data:,b", "extra": 1}
    assert inline["url"] == "data:,c"


@pytest.mark.parametrize("line", [b'{"url": 1}', b"{", b"[1]", b"\xff"])
def test_a_line_that_is_no_task_is_named(tmp_path: Path, line: bytes) -> None:
    got = run(tmp_path, "queue", "push", "-", stdin=b"data:,a\n" + line)
    assert (got.code, got.out) == (2, "")
    assert "fetchpool: nothing is pushed: 1 of 2 lines is no task\n  line 2: neither" in got.err
    assert list(tmp_path.iterdir()) == []  # no Redis was started for it


def test_a_dead_message_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    got = run(tmp_path, "queue", "dead", "--requeue", "0123456789abcdef", "f" * 16)
    assert (got.code, got.out) == (1, "0 back in scheduler2fetcher\n")
    assert got.err.splitlines() == [
        "fetcher_dead holds no message 0123456789abcdef",
        f"fetcher_dead holds no message {'f' * 16}",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *((url, True) for url in ("http://a.example/", "FTP://h/", "data:,x", "Data:,x")),
        *((name, False) for name in ("a.example", "tasks.txt", "-", "://x", "a/b://c", "data")),
    ],
)
def test_a_url_is_told_from_a_file(text: str, expected: bool) -> None:
    assert is_url(text) is expected


def test_a_url_is_a_task_unless_a_file_is_called_so(tmp_path: Path) -> None:
    assert run(tmp_path, "queue", "push", "data:,x").out == "1 pushed to scheduler2fetcher\n"
    (tmp_path / "data:,x").write_text("data:,a\ndata:,b\n")
    assert run(tmp_path, "queue", "push", "data:,x").out == "2 pushed to scheduler2fetcher\n"
