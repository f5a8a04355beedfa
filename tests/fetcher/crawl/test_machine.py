import os
import subprocess
import sys

import pytest

from fetcher.crawl.machine import is_gone, machine, worker_name


def named(pid: object, **changes: str) -> str:
    host, where, _, token = worker_name().split(":")
    parts = {"host": host, "where": where, "token": token} | changes
    return f"{parts['host']}:{parts['where']}:{pid}:{parts['token']}"


def test_each_process_has_a_name_of_four_parts() -> None:
    names = {worker_name() for _ in range(100)}
    assert len(names) == 100
    for name in names:
        host, where, pid, token = name.split(":")
        assert (host, int(pid)) == (machine(), os.getpid())
        assert where and token


def test_we_are_not_gone() -> None:
    assert not is_gone(worker_name())


def test_another_process_of_this_machine_is_gone_when_it_has_ended() -> None:
    program = "from fetcher.crawl.machine import worker_name; print(worker_name()); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stdin is not None
        name = process.stdout.readline().strip()
        assert not is_gone(name)
        process.kill()
        process.wait()
        assert is_gone(name)


@pytest.mark.parametrize(
    "changes", [{"host": "elsewhere"}, {"where": "another boot"}, {"host": "", "where": ""}]
)
def test_of_another_machine_nobody_can_tell(changes: dict[str, str]) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    assert is_gone(named(process.pid))
    assert not is_gone(named(process.pid, **changes))


@pytest.mark.parametrize("pid", ["", "x", "-1", "1.5", 1, 10**30])
def test_one_whose_number_says_nothing_is_not_gone(pid: object) -> None:
    assert not is_gone(named(pid))


@pytest.mark.parametrize("name", ["", ":", "::::", "w1", machine()])
def test_what_is_no_name_is_not_gone(name: str) -> None:
    assert not is_gone(name)
