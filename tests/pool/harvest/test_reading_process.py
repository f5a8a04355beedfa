"""The process that reads lists, as a program with two pipes."""

import resource
import subprocess
import sys
import time
from typing import Any

import msgspec
import pytest

from fetcher.child_process import LENGTH, pack
from pool.harvest.reading_process import MEMORY, PART, Job, Part
from pool.source import Source

PROGRAM = [sys.executable, "-c", "from pool.harvest.reading_process import main; main()"]
SLOW: dict[str, Any] = {"select": {"row": "tr", "host": "td:nth-child(1)"}}
TANGLE = b"<table><tr>" + b"<td>" * 300_000  # two minutes of a selector


def make(**fields: Any) -> Source:
    return msgspec.convert({"name": "one", "url": "http://list.test/", **fields}, Source)


def job(body: bytes, *, limit: int = 20_000, seconds: float = 30.0, **fields: Any) -> bytes:
    return pack(Job(make(**fields), body, "text/plain", limit, seconds))


def unpack(said: bytes) -> list[Part]:
    parts = []
    while said:
        end = LENGTH + int.from_bytes(said[:LENGTH], "big")
        parts.append(msgspec.msgpack.decode(said[LENGTH:end], type=Part))
        said = said[end:]
    return parts


def run(*jobs: bytes) -> list[Part]:
    done = subprocess.run(
        PROGRAM, input=b"".join(jobs), stdout=subprocess.PIPE, check=True, timeout=30
    )
    return unpack(done.stdout)


def test_it_says_that_it_is_there_and_ends_with_its_input() -> None:
    assert run() == [Part([])]
    assert run(b"\0\0") == [Part([])]


def test_each_job_has_its_own_answer() -> None:
    first, second = b"8.8.4.1:80 8.8.4.2:80 8.8.4.1:80", b'{"host": "8.8.4.3", "port": 80}'
    _, one, two = run(job(first), job(second, json={"host": "host", "port": "port"}))
    assert [found.proxy.member for found in one.found] == ["8.8.4.1:80", "8.8.4.2:80"]
    assert [found.proxy.member for found in two.found] == ["8.8.4.3:80"]
    assert [(part.is_last, part.is_spent, part.error) for part in (one, two)] == [
        (True, False, None)
    ] * 2


@pytest.mark.parametrize("count", [0, 1, PART - 1, PART, PART + 1, 2 * PART + 1])
def test_long_answers_come_in_parts(count: int) -> None:
    body = b"\n".join(b"18.8.%d.%d:80" % divmod(n, 250) for n in range(count))
    parts = run(job(body))[1:]
    assert sum(len(part.found) for part in parts) == count
    assert [part.is_last for part in parts] == [False] * (max(count - 1, 0) // PART) + [True]
    assert max(len(part.found) for part in parts) <= PART


def test_a_body_that_takes_too_much_memory_is_said_and_is_the_last() -> None:
    # Five bytes of JSON, and 140 of memory.
    body = b"[" + b"[{}]," * 5_000_000 + b"0]"
    _, part = run(job(body, json={"items": "x"}), job(b"8.8.4.1:80"))
    assert (part.found, part.is_last, part.is_spent) == ([], True, True)
    assert part.error == f"it takes more than {MEMORY >> 20} MB of memory"


def test_having_held_much_it_makes_place_for_another() -> None:
    body = b"[" + b"[]," * 1_500_000 + b"0]"
    _, part = run(job(body, json={"items": "x"}))
    assert (part.is_spent, part.error) == (True, None)


def test_a_job_without_an_end_ends_the_process_though_nobody_kills_it() -> None:
    with subprocess.Popen(PROGRAM, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        assert process.stdin is not None
        began = time.monotonic()
        process.stdin.write(job(TANGLE, seconds=0.2, **SLOW))
        process.stdin.flush()
        assert process.wait(20) < 0
        assert time.monotonic() - began < 15


def test_it_ends_when_nobody_reads_its_answer() -> None:
    with subprocess.Popen(PROGRAM, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdout.close()
        process.stdin.write(job(b"8.8.4.1:80"))
        process.stdin.close()
        assert process.wait(20) == 0


def test_our_own_memory_has_no_such_limit() -> None:
    run()
    assert resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY
