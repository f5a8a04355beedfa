import asyncio
import contextlib
import fcntl
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from redis import Redis

from fetcher.errors import RedisAway
from fetcher.redis.call import call
from fetcher.settings import Redis as RedisSettings
from fetchpool.redis import embedded
from fetchpool.redis.binary import VERSION_FILE
from fetchpool.redis.connect import connect
from fetchpool.redis.embedded import (
    SOCKET_PATH_MAX,
    EmbeddedRedis,
    EmbeddedRedisError,
    keep_running,
    redis_url,
    socket_path,
)
from tests.redis_server import KINDS, find_binary, is_answering, poll, unavailable
from tests.wait import wait_until

ROOT = Path(__file__).parents[3]
USER = """
import sys
from pathlib import Path
from fetchpool.redis.embedded import EmbeddedRedis
with EmbeddedRedis.start(Path(sys.argv[1]), binary=Path(sys.argv[2])) as server:
    print(server.pid, server.url, flush=True)
    sys.stdin.read()
"""


class User:
    """A process that uses the server of a directory until it is told to leave, or killed."""

    def __init__(self, directory: Path, binary: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", USER, directory, binary],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def join(self) -> "User":
        assert self.process.stdout
        pid, self.url = self.process.stdout.readline().split()
        self.pid = int(pid)
        return self

    def leave(self) -> None:
        self.process.communicate("", timeout=10)

    def kill(self) -> None:
        self.process.kill()
        self.leave()


@pytest.fixture(params=KINDS)
def binary(request) -> Path:
    return find_binary(request.param)


@pytest.fixture
def directory(tmp_path) -> Iterator[Path]:
    """A data directory; afterwards neither server nor waiter may be left."""
    directory = tmp_path / "d"
    yield directory
    poll(lambda: is_over(directory), "server and waiter to end")


@pytest.fixture
def join(directory, binary):
    """Start a user; all users that a test has left running are killed at its end."""
    users = []

    def join() -> User:
        users.append(User(directory, binary))
        return users[-1].join()

    yield join
    for user in users:
        if user.process.returncode is None:
            user.kill()


def holders(lock: Path) -> list[int]:
    """The processes that have a lock's file open. Taking the lock to look would disturb."""
    return [
        int(process.name)
        for process in Path("/proc").glob("[0-9]*")
        if str(lock) in opened(process)
    ]


def opened(process: Path) -> set[str]:
    """The files that a process has open. It may end or close some while one looks."""
    found = set()
    with contextlib.suppress(OSError):
        for fd in (process / "fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                found.add(os.readlink(fd))
    return found


def waiter(directory: Path) -> int:
    [pid] = holders(directory / "waiter.lock")
    return pid


def is_over(directory: Path) -> bool:
    return not any(holders(directory / f"{name}.lock") for name in ("users", "server", "waiter"))


def is_alive(user: User) -> bool:
    return is_answering(user.url.removeprefix("unix://"))


def client(user: User | EmbeddedRedis) -> Redis:
    return Redis.from_url(user.url)


def test_the_server_answers_and_ends_with_its_only_user(directory, binary):
    with EmbeddedRedis.start(directory, binary=binary) as server:
        assert server.url == f"unix://{directory}/redis.sock"
        with client(server) as redis:
            assert redis.info("server")["process_id"] == server.pid
            settings = redis.config_get("*")
        assert settings["appendonly"] == "yes"
        assert settings["appendfsync"] == "everysec"
        assert settings["save"] == ""
        assert settings["port"] == "0"
        assert settings["maxmemory-policy"] == "noeviction"
    poll(lambda: is_over(directory), "the server to end")
    assert not (directory / "redis.sock").exists()
    server.close()  # a second time is nothing


def test_nothing_in_the_directory_is_open_to_others(directory, binary):
    with EmbeddedRedis.start(directory, binary=binary):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        for name in ("redis.sock", "server.lock", "users.lock", "start.lock", "waiter.lock"):
            assert not (directory / name).stat().st_mode & 0o077, name


def test_server_and_waiter_hold_no_lock_but_their_own(directory, join):
    user = join()
    assert holders(directory / "server.lock") == [user.pid]
    assert holders(directory / "start.lock") == []
    assert waiter(directory) != user.pid
    poll(lambda: waiter(directory) in holders(directory / "users.lock"), "the waiter to wait")
    assert sorted(holders(directory / "users.lock")) == sorted(
        [user.process.pid, waiter(directory)]
    )


def test_processes_share_one_server_and_the_last_to_leave_ends_it(directory, join):
    first, second = join(), join()
    assert (first.pid, first.url) == (second.pid, second.url)
    first.leave()
    assert is_alive(second)
    second.leave()
    poll(lambda: is_over(directory), "the server to end")
    assert not is_alive(second)


def test_two_shares_of_one_process_are_two(directory, binary):
    first = EmbeddedRedis.start(directory, binary=binary)
    with EmbeddedRedis.start(directory, binary=binary) as second:
        first.close()
        with client(second) as redis:
            assert redis.ping()
        assert waiter(directory)


def test_a_killed_starter_leaves_the_others_unharmed(directory, join):
    starter, other = join(), join()
    starter.kill()
    assert is_alive(other)
    assert join().pid == other.pid
    assert len(holders(directory / "waiter.lock")) == 1


def test_the_server_ends_when_its_last_user_is_killed(directory, join):
    users = [join(), join()]
    for user in users:
        user.kill()
    poll(lambda: is_over(directory), "the server to end")
    assert not is_alive(users[0])


def test_six_starters_at_once_get_one_server(directory, binary):
    users = [User(directory, binary) for _ in range(6)]
    try:
        assert len({user.join().pid for user in users}) == 1
        assert len(holders(directory / "waiter.lock")) == 1
    finally:
        for user in users:
            user.kill()


def test_users_who_come_while_the_last_one_leaves_find_a_server(directory, binary):
    for round_number in range(10):
        with EmbeddedRedis.start(directory, binary=binary) as server, client(server) as redis:
            assert redis.incr("rounds") == round_number + 1


def test_what_was_written_is_there_after_a_restart(directory, join):
    user = join()
    with client(user) as redis:
        redis.set("k", "v")
    user.leave()
    poll(lambda: is_over(directory), "the server to end")
    with client(join()) as redis:
        assert redis.get("k") == b"v"


def test_what_was_written_is_there_after_server_users_and_waiter_were_killed(directory, join):
    user = join()
    with client(user) as redis:
        redis.rpush("k", *range(1000))
    for pid in (user.pid, waiter(directory), user.process.pid):
        os.kill(pid, signal.SIGKILL)
    poll(lambda: is_over(directory), "all to be gone")
    assert (directory / "redis.sock").exists()
    after = join()
    assert after.pid != user.pid
    with client(after) as redis:
        assert redis.llen("k") == 1000


def test_a_dead_server_is_replaced_for_the_next_user_while_others_still_hold_their_share(
    directory, join
):
    first = join()
    watching = waiter(directory)
    os.kill(first.pid, signal.SIGKILL)
    poll(lambda: not holders(directory / "server.lock"), "the server to be gone")
    second = join()
    assert second.pid != first.pid
    assert waiter(directory) == watching
    second.leave()
    assert is_alive(second)
    first.leave()
    poll(lambda: is_over(directory), "the second server to end")


def test_a_killed_waiter_is_replaced_when_the_next_user_comes(directory, join):
    first = join()
    killed = waiter(directory)
    os.kill(killed, signal.SIGKILL)
    poll(lambda: not holders(directory / "waiter.lock"), "the waiter to be gone")
    second = join()
    assert second.pid == first.pid
    assert waiter(directory) != killed
    first.leave()
    second.kill()
    poll(lambda: is_over(directory), "the server to end")


def test_an_orphan_without_users_and_waiter_is_adopted(directory, join):
    first = join()
    os.kill(waiter(directory), signal.SIGKILL)
    poll(lambda: not holders(directory / "waiter.lock"), "the waiter to be gone")
    first.kill()
    assert is_alive(first)
    second = join()
    assert second.pid == first.pid
    second.leave()
    poll(lambda: is_over(directory), "the server to end")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP, signal.SIGTERM])
def test_a_signal_to_the_process_group_does_not_reach_the_server(directory, join, number):
    first, second = join(), join()
    os.killpg(first.process.pid, number)  # what a terminal does at Ctrl-C or when it is closed
    first.leave()
    assert first.process.returncode
    assert is_alive(second)
    assert waiter(directory)


def test_a_forked_child_keeps_the_share_of_its_parent(directory, join):
    first = join()
    code = (
        "import os, sys\nfrom pathlib import Path\n"
        "from fetchpool.redis.embedded import EmbeddedRedis\n"
        "server = EmbeddedRedis.start(Path(sys.argv[1]))\n"
        "if os.fork():\n    server.close(); os._exit(0)\n"
        "print('child', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, directory],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as parent:
        assert parent.stdin and parent.stdout
        assert parent.stdout.readline() == b"child\n"
        assert parent.wait(10) == 0
        first.leave()
        assert is_alive(first)
        parent.stdin.close()  # the child reads the end of its input and ends
        poll(lambda: is_over(directory), "the server to end")


def is_waiting(pid: int, lock: Path) -> bool:
    """Whether a process is blocked at a lock."""
    words = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return any(
        line[1] == "->" and line[5] == str(pid) and line[6].endswith(f":{lock.stat().st_ino}")
        for line in words
    )


def test_a_server_that_does_not_end_is_waited_for_aloud_and_not_for_ever(
    directory, join, monkeypatch, caplog
):
    monkeypatch.setattr(embedded, "SAY_AFTER", 0.05)
    monkeypatch.setattr(embedded, "START_TIMEOUT", 0.2)
    user = join()
    watching = waiter(directory)
    os.kill(user.pid, signal.SIGSTOP)
    try:
        user.leave()
        poll(lambda: is_waiting(watching, directory / "server.lock"), "the waiter to wait")
        with pytest.raises(EmbeddedRedisError, match=rf"has not ended for 0\.2 s: .* {user.pid} "):
            EmbeddedRedis.start(directory).close()
        assert caplog.messages == [f"waiting for the old Redis of {directory} to end"]
    finally:
        os.kill(user.pid, signal.SIGCONT)


def test_a_server_that_hangs_is_not_waited_for_for_ever(directory, join, monkeypatch):
    monkeypatch.setattr(embedded, "START_TIMEOUT", 0.2)
    user = join()
    os.kill(user.pid, signal.SIGSTOP)
    try:
        with pytest.raises(EmbeddedRedisError, match=rf"has not answered for .* {user.pid} at "):
            EmbeddedRedis.start(directory).close()
    finally:
        os.kill(user.pid, signal.SIGCONT)


def test_who_waits_for_another_starter_is_told(directory, binary, monkeypatch, caplog):
    monkeypatch.setattr(embedded, "SAY_AFTER", 0.0)
    directory.mkdir()
    path = directory / "start.lock"
    lock = os.open(path, os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with ThreadPoolExecutor(1) as threads:
        starting = threads.submit(EmbeddedRedis.start, directory, binary=binary)
        poll(lambda: caplog.messages, "the wait to be told")
        os.close(lock)
        starting.result(10).close()
    assert caplog.messages[0] == f"waiting for another process, which holds {path}"


def test_a_pid_that_is_another_process_by_now_is_not_ended(directory, join):
    user = join()
    watching = waiter(directory)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as another:
        lock = directory / "server.lock"
        lock.write_text(lock.read_text().replace(str(user.pid), str(another.pid), 1))
        user.leave()
        poll(lambda: is_waiting(watching, lock), "the waiter to wait for the server")
        os.kill(user.pid, signal.SIGTERM)
        poll(lambda: is_over(directory), "server and waiter to end")
        assert another.poll() is None
        another.communicate(b"\n")
        assert another.returncode == 0


# --- whose the directory is ---


def test_a_directory_of_another_user_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(EmbeddedRedisError, match=r"^redis\.data_dir: .* belongs to another user"):
        EmbeddedRedis.start(tmp_path).close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("mode", "after"), [(0o700, 0o700), (0o755, 0o755), (0o775, 0o755), (0o770, 0o750)]
)
def test_a_directory_of_ours_is_taken_and_closed_to_its_group(directory, mode, after):
    directory.mkdir()
    directory.chmod(mode)
    with EmbeddedRedis.start(directory):
        assert stat.S_IMODE(directory.stat().st_mode) == after


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o702])
def test_a_directory_into_which_everybody_may_write_is_refused(directory, mode):
    directory.mkdir()
    directory.chmod(mode)
    with pytest.raises(EmbeddedRedisError, match=r"^redis\.data_dir: everybody may write into"):
        EmbeddedRedis.start(directory).close()
    assert stat.S_IMODE(directory.stat().st_mode) == mode


def test_a_link_of_ours_to_a_directory_of_ours_is_followed(directory, tmp_path):
    directory.mkdir()
    (tmp_path / "link").symlink_to(directory)
    with EmbeddedRedis.start(tmp_path / "link") as server:
        assert server.url == f"unix://{directory}/redis.sock"


@pytest.mark.parametrize("name", ["users", "start", "server", "waiter"])
def test_a_lock_that_is_a_link_is_refused_and_what_it_names_is_left_alone(
    directory, tmp_path, name
):
    directory.mkdir()
    (tmp_path / "precious").write_text("precious")
    link = directory / f"{name}.lock"
    link.symlink_to(tmp_path / "precious")
    with pytest.raises(EmbeddedRedisError, match=f"{name}.lock is a link; remove it"):
        EmbeddedRedis.start(directory).close()
    assert (tmp_path / "precious").read_text() == "precious"


def test_a_lock_that_is_no_file_of_ours_is_refused(directory):
    directory.mkdir()
    os.mkfifo(directory / "users.lock")
    with pytest.raises(EmbeddedRedisError, match=r"users\.lock is not a file of ours; remove it"):
        EmbeddedRedis.start(directory).close()


# --- where the socket is ---


def directory_of_length(tmp_path: Path, length: int) -> Path:
    """A directory below tmp_path whose socket's path has this many bytes."""
    room = length - len(os.fsencode(tmp_path)) - len("//redis.sock")
    return tmp_path / ("x" * room)


@pytest.mark.parametrize(("beyond", "inside"), [(-1, True), (0, True), (1, False)])
def test_a_socket_path_over_the_limit_goes_elsewhere(short_tmp, monkeypatch, beyond, inside):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short_tmp))
    directory = directory_of_length(short_tmp, SOCKET_PATH_MAX + beyond)
    path = socket_path(directory)
    assert (path.parent == directory) == inside
    assert inside or path.parent == short_tmp / "fetchpool"


@pytest.fixture
def short_tmp(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("s")


def test_a_long_directory_works_and_all_users_find_its_socket(short_tmp, binary, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short_tmp))
    directory = short_tmp / ("long" * 30) / ("ü" * 30)
    with EmbeddedRedis.start(directory, binary=binary) as first:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(short_tmp / "elsewhere"))
        with EmbeddedRedis.start(directory) as second, client(second) as redis:
            assert first.url == second.url
            assert redis.config_get("dir")["dir"] == str(directory)
    parent = short_tmp / "fetchpool"
    assert stat.S_IMODE(parent.stat().st_mode) == 0o700
    poll(lambda: is_over(directory), "the server to end")


def test_without_a_runtime_directory_the_socket_is_below_the_temporary_one(short_tmp, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short_tmp / "missing"))
    monkeypatch.setattr("tempfile.tempdir", str(short_tmp))
    path = socket_path(Path("/" + "x" * 100))
    assert path.parent == short_tmp / f"fetchpool-{os.geteuid()}"
    assert socket_path(Path("/" + "x" * 100)) == path
    assert socket_path(Path("/" + "x" * 101)) != path


def test_a_directory_for_sockets_that_others_can_reach_is_refused(short_tmp, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short_tmp))
    (short_tmp / "fetchpool").mkdir()
    (short_tmp / "fetchpool").chmod(0o710)
    with pytest.raises(EmbeddedRedisError, match="open to others"):
        socket_path(Path("/" + "x" * 100))


def test_a_directory_for_sockets_that_is_a_link_is_refused(short_tmp, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short_tmp))
    (short_tmp / "real").mkdir(mode=0o700)
    (short_tmp / "fetchpool").symlink_to(short_tmp / "real")
    with pytest.raises(EmbeddedRedisError, match="not a directory of ours"):
        socket_path(Path("/" + "x" * 100))


# --- what goes wrong ---


def test_data_of_a_newer_server_are_refused_and_not_taken_for_empty(directory):
    newest, floor = find_binary("newest"), find_binary("floor")
    if newest == floor:
        unavailable("only one version of redis-server here")
    with EmbeddedRedis.start(directory, binary=newest) as server, client(server) as redis:
        redis.set("k", "v")
    poll(lambda: is_over(directory), "the server to end")
    with pytest.raises(EmbeddedRedisError, match=r"written by Redis .*6\.2.*redis\.url"):
        EmbeddedRedis.start(directory, binary=floor).close()
    with EmbeddedRedis.start(directory, binary=newest) as server, client(server) as redis:
        assert redis.get("k") == b"v"


def test_data_of_an_older_server_are_taken_over(directory):
    with (
        EmbeddedRedis.start(directory, binary=find_binary("floor")) as server,
        client(server) as redis,
    ):
        redis.set("k", "v")
    poll(lambda: is_over(directory), "the server to end")
    with (
        EmbeddedRedis.start(directory, binary=find_binary("newest")) as server,
        client(server) as redis,
    ):
        assert redis.get("k") == b"v"
        assert redis.info("server")["process_id"] == server.pid


def test_a_user_with_an_older_binary_joins_a_running_newer_server(directory):
    with (
        EmbeddedRedis.start(directory, binary=find_binary("newest")) as first,
        EmbeddedRedis.start(directory, binary=find_binary("floor")) as second,
    ):
        assert first.pid == second.pid


def test_a_damaged_file_is_named_with_the_ways_out_and_left_as_it_is(directory, binary):
    with EmbeddedRedis.start(directory, binary=binary) as server, client(server) as redis:
        for number in range(100):
            redis.set(f"k{number}", "v" * 100)
    poll(lambda: is_over(directory), "the server to end")
    files = [*directory.glob("appendonly.aof"), *directory.glob("appendonlydir/*.incr.aof")]
    assert len(files) == 1
    damaged = files[0]
    before, _, after = damaged.read_bytes().partition(b"k50\r\n$")
    content = before + b"k50\r\n?" + after
    damaged.write_bytes(content)
    for _ in range(2):
        with pytest.raises(EmbeddedRedisError, match="redis-check-aof --fix") as caught:
            EmbeddedRedis.start(directory, binary=binary).close()
        assert f"{damaged} is damaged" in str(caught.value)
        assert "Bad file format" in str(caught.value)
    assert damaged.read_bytes() == content


def test_a_server_that_does_not_start_is_an_error_with_the_end_of_its_log(directory, binary):
    directory.mkdir()
    (directory / "appendonly.aof").mkdir()
    (directory / "appendonlydir").touch()
    (directory / "redis.version").write_text("6.2.0")
    with pytest.raises(EmbeddedRedisError, match=r"redis\.log:\n(.+\n?){1,5}$"):
        EmbeddedRedis.start(directory, binary=binary).close()


def test_a_program_that_is_no_server_is_an_error_that_quotes_it(directory, tmp_path):
    fake = tmp_path / "redis-server"
    fake.write_text("#!/bin/sh\n[ $1 = --version ] && echo v=7.0.0 || echo it breaks >&2\n")
    fake.chmod(0o755)
    with pytest.raises(EmbeddedRedisError, match="it breaks"):
        EmbeddedRedis.start(directory, binary=fake).close()


def test_a_server_whose_socket_is_gone_is_not_doubled(directory, join, monkeypatch, binary):
    monkeypatch.setattr("fetchpool.redis.embedded.START_TIMEOUT", 0.2)
    user = join()
    (directory / "redis.sock").unlink()
    with pytest.raises(EmbeddedRedisError, match=f"has not answered.*{user.pid}"):
        EmbeddedRedis.start(directory, binary=binary).close()
    assert holders(directory / "server.lock") == [user.pid]


def test_a_directory_that_cannot_be_made_is_an_error_that_names_it(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedRedisError) as raised:
        EmbeddedRedis.start(tmp_path / "file" / "d").close()
    assert str(raised.value) == (
        f"redis.data_dir: the folder {tmp_path}/file/d cannot be used: Not a directory;"
        " choose another one with -s redis.data_dir=DIR"
    )


def test_a_file_that_is_in_the_way_is_named(tmp_path):
    with pytest.raises(EmbeddedRedisError, match=f"{tmp_path} cannot be used: {tmp_path}/users.lo"):
        (tmp_path / "users.lock").mkdir()
        EmbeddedRedis.start(tmp_path).close()


@pytest.mark.parametrize(("size", "aside"), [(-1, False), (0, False), (1, True)])
def test_a_log_over_its_limit_is_set_aside(directory, binary, monkeypatch, size, aside):
    monkeypatch.setattr("fetchpool.redis.embedded.LOG_MAX", 4096)
    directory.mkdir()
    (directory / "redis.log").write_bytes(b"x" * (4096 + size))
    with EmbeddedRedis.start(directory, binary=binary):
        assert (directory / "redis.log.1").exists() == aside


async def test_one_that_was_killed_is_started_again_where_it_was(
    directory: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(embedded, "WATCH", 0.02)
    with EmbeddedRedis.start(directory) as server:
        keeping = asyncio.create_task(keep_running(directory))
        async with connect(server.url) as client:
            await client.set("kept", "1")
            await client.bgrewriteaof()

            async def is_saved() -> bool:
                return not (await client.info("persistence"))["aof_rewrite_in_progress"]

            await wait_until(is_saved, 10)
            record = directory / VERSION_FILE
            ours = record.read_text()
            record.write_text("99.0.0\n")  # as if a newer one had written the data
            os.kill(server.pid, signal.SIGKILL)
            await wait_until(lambda: "does not start" in caplog.text, 10)
            record.write_text(ours)
            await wait_until(lambda: is_answering(str(socket_path(directory))), 10)
            assert await client.get("kept") == b"1"
        keeping.cancel()
        assert caplog.text.count("starting it again") >= 2


def test_the_url_of_redis_is_the_one_that_is_set() -> None:
    with redis_url(RedisSettings(url="redis://127.0.0.1:1/0")) as url:
        assert url == "redis://127.0.0.1:1/0"


def test_the_url_of_our_own_redis_is_its_socket(tmp_path: Path) -> None:
    with redis_url(RedisSettings(url="embedded", data_dir=str(tmp_path))) as url:
        assert url == f"unix://{socket_path(tmp_path)}"
        assert is_answering(str(socket_path(tmp_path)))


async def test_whoever_wrote_the_settings_is_told_what_to_do_about_a_redis_that_is_away() -> None:
    url = "redis://:s3cret@127.0.0.1:1/0"
    with pytest.raises(RedisAway) as raised, redis_url(RedisSettings(url=url)):
        async with connect(url) as client:
            await call(client.ping())
    assert str(raised.value) == (
        "redis.url: redis://:***@127.0.0.1:1/0 cannot be reached: Connection refused. Start a Redis"
        " there, or name another one with --redis URL; --redis embedded takes one of fetchpool's"
        " own"
    )


async def test_the_absence_of_another_redis_is_none_of_the_settings() -> None:
    with pytest.raises(RedisAway) as raised, redis_url(RedisSettings(url="redis://127.0.0.1:2/0")):
        async with connect("redis://127.0.0.1:1/0") as client:
            await call(client.ping())
    assert "redis.url" not in str(raised.value)
