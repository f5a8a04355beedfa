"""Embedded Redis: a private ``redis-server``, shared by our processes, stopped after the last one.

All agreement between processes is by file locks in the data directory, since the kernel drops
them whatever a process dies of. One file, one meaning:

    start.lock    held while a process starts the server or joins it
    users.lock    held shared by every user for life; exclusive by the waiter while it stops
    server.lock   held by the server itself, which inherits it: free means that no server runs.
                  Its text is the server's pid and socket
    waiter.lock   held by the waiter: free means that somebody must start one

The *waiter* is a small process that blocks until ``users.lock`` is free, ends the server and
holds the lock until the server is gone: a user who comes meanwhile waits those milliseconds
and starts a fresh one; a wait that takes longer is told, and ends with an error. Server and waiter
are children of init in a session of their own: Ctrl-C does not reach them, they outlive who started
them, and nobody has to reap them. A killed waiter is replaced when the next user comes; until then
nobody would end the server. No pid is trusted for being alive, since pids are used again and a
socket may have been deleted. The directory must be ours alone: who else may write there could
answer in the server's place.
"""

import asyncio
import contextlib
import errno
import fcntl
import hashlib
import logging
import os
import re
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Self

import msgspec

from fetcher.errors import RedisAway
from fetcher.settings import Redis
from fetchpool.redis.binary import EmbeddedRedisError as EmbeddedRedisError
from fetchpool.redis.binary import choose_binary, dotted, record_version
from fetchpool.redis.connect import Unreached, socket_url

SOCKET_PATH_MAX: Final = 100  # bytes; Redis silently cuts paths over 107 and listens elsewhere
START_TIMEOUT: Final = 30.0  # seconds until the socket answers; loading then takes what it takes
LOG_MAX: Final = 1 << 20  # bytes; a larger log is set aside as redis.log.1 at the next start
SAY_AFTER: Final = 3.0  # seconds of waiting until it is said for what
POLL: Final = 0.005  # seconds between two looks at a starting server
WATCH: Final = 1.0  # seconds between two looks at a running one (30 us each)
WATCH_MAX: Final = 60.0  # likewise, at one that does not start
_START_MARK: Final = b"--- fetchpool starts redis-server ---"  # in the log

_log = logging.getLogger(__name__)

# The keeper forks server and waiter and ends. It runs without site-packages: 10 ms, 10 MB.
# Each child closes the lock that belongs to the other, or neither would ever seem gone.
_KEEPER: Final = """
import fcntl, os, signal, sys
server, waiter = int(sys.argv[1]), int(sys.argv[2])
users_path, server_path, socket_path, *command = sys.argv[3:]

def holds_lock(pid, lock):
    files = "/proc/%d/fd" % pid
    try:
        names = os.listdir(files)
    except FileNotFoundError:
        return not os.path.isdir("/proc/self/fd")  # another system: nobody can tell
    except PermissionError:
        return True  # nor here, and the kernel asks whose it is
    for name in names:
        try:
            if os.path.samestat(os.stat(os.path.join(files, name)), os.fstat(lock)):
                return True
        except OSError:
            pass  # closed meanwhile, or no file
    return False

if server >= 0:
    pid = os.fork()
    if not pid:
        if waiter >= 0:
            os.close(waiter)
        os.execv(command[0], command)
    os.pwrite(server, os.fsencode("%d\\n%s" % (pid, socket_path)), 0)
    os.close(server)
if waiter < 0 or os.fork():
    os._exit(0)
users = os.open(users_path, os.O_RDWR | os.O_NOFOLLOW)
fcntl.flock(users, fcntl.LOCK_EX)
server = os.open(server_path, os.O_RDWR | os.O_NOFOLLOW)
try:
    fcntl.flock(server, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    try:
        pid = int(os.pread(server, 20, 0).split()[0])
        if holds_lock(pid, server):  # or the pid is somebody else's by now
            os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        pass  # killed; a child that rewrites the file still holds the lock and ends by itself
    fcntl.flock(server, fcntl.LOCK_EX)
os.close(waiter)  # before users.lock: the next user must not take us for alive
"""


class Server(msgspec.Struct, frozen=True):
    """The server of a data directory, as ``server.lock`` names it."""

    pid: int
    socket: Path


class EmbeddedRedis:
    """Our share in the server of a data directory; the server lives until the last is given back.

    A process forked from ours has a part in our share. One that was spawned has not: it calls
    `start` itself, or the server may end under it.
    """

    def __init__(self, server: Server, share: int) -> None:
        self.url: Final = socket_url(server.socket)
        self.pid: Final = server.pid
        self._share: int | None = share

    @classmethod
    def start(cls, data_dir: Path, *, binary: Path | None = None) -> Self:
        """Start the server of ``data_dir`` or join it, and return when it answers.

        Blocks: call it before there is an event loop. Writes are on disk within a second
        (``appendfsync everysec``): a power cut may cost that second, a killed process nothing.
        ``binary`` replaces the search for one. Raises EmbeddedRedisError.
        """
        try:
            directory = _own(data_dir)
            share = _open(directory / "users.lock")
            try:
                with _held(directory / "start.lock"):
                    _join_users(share, directory)
                    server = _ensure_server(directory, binary)
            except BaseException:
                os.close(share)
                raise
        except OSError as error:
            raise EmbeddedRedisError(_explain(data_dir, error)) from error
        return cls(server, share)

    def close(self) -> None:
        """Give our share back; may be called twice."""
        share, self._share = self._share, None
        if share is not None:
            os.close(share)  # no LOCK_UN: that would take the share from forked children too

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


@contextlib.contextmanager
def redis_url(settings: Redis) -> Iterator[str]:
    """The URL of Redis; of our own server, which is kept alive meanwhile, if that is asked for.

    Raises EmbeddedRedisError, and RedisAway in words for whoever wrote the settings if what is
    done inside ends because nobody answers there.
    """
    if settings.url != "embedded":
        try:
            yield settings.url
        except RedisAway as error:
            cause = error.__cause__
            if isinstance(cause, Unreached) and cause.url == settings.url:
                raise RedisAway(advise(str(cause)), is_gone=True) from error
            raise
        return
    with EmbeddedRedis.start(Path(settings.data_dir)) as server:
        yield server.url


def advise(absence: str) -> str:
    """A sentence for whoever wrote the settings: `absence` says who cannot be reached, and why."""
    return (
        f"redis.url: {absence}. Start a Redis there, or name another one with --redis URL;"
        " --redis embedded takes one of fetchpool's own"
    )


async def keep_running(directory: Path) -> None:
    """Start the server of a directory again whenever it has ended, for who has a share in it.

    Nobody else would: it is a child of init. Clients find it where it was. What keeps it from
    starting is logged, and it is tried again more and more seldom.
    """
    pause = WATCH
    while True:
        await asyncio.sleep(pause)
        if not _is_free(directory / "server.lock"):
            pause = WATCH
            continue
        _log.warning("the embedded Redis has ended: starting it again")
        try:
            await asyncio.to_thread(_revive, directory)
        except (EmbeddedRedisError, OSError) as error:
            pause = min(2 * pause, WATCH_MAX)
            words = _explain(directory, error) if isinstance(error, OSError) else error
            _log.error("the embedded Redis does not start, trying again in %g s: %s", pause, words)


def _explain(data_dir: Path, error: OSError) -> str:
    """What the system has against the folder, or something in it, for whoever set it."""
    folder = data_dir.absolute()
    reason = error.strerror or str(error)
    if error.filename is None:
        return f"the embedded Redis in {folder} cannot be started: {reason}"
    name = Path(os.fsdecode(error.filename)).absolute()
    where = "" if name == folder else f"{name}: "
    if isinstance(error, FileExistsError):
        reason = "it is no folder"
    return (
        f"redis.data_dir: the folder {folder} cannot be used: {where}{reason};"
        " choose another one with -s redis.data_dir=DIR"
    )


def _revive(directory: Path) -> None:
    with _held(directory / "start.lock"):
        _ensure_server(directory, None)


def _ensure_server(directory: Path, binary: Path | None) -> Server:
    """The ready server of a directory, started if there is none. The caller holds start.lock."""
    launched = _launch_missing(directory, binary)
    wait = _Wait(f"the Redis of {directory} to be ready")
    while True:
        server = _read_server(directory)
        ready = _is_ready(server.socket) if server else None
        if server and ready:
            return server
        if _is_free(directory / "server.lock"):
            if launched:
                raise EmbeddedRedisError(_describe_failure(directory))
            # A killed server's child, which rewrites the file, may have held the lock until now.
            launched = _launch_missing(directory, binary)
        elif ready is None and wait.is_over():
            raise _hung(directory, "answered")
        wait.turn()


def _join_users(share: int, directory: Path) -> None:
    """Take our share of users.lock; meanwhile an old server may be being stopped."""
    wait = _Wait(f"the old Redis of {directory} to end")
    while not _is_locked(share, fcntl.LOCK_SH):
        if wait.is_over():
            raise _hung(directory, "ended")
        wait.turn()


class _Wait:
    """A wait from now on for what has no event; told once if it takes long."""

    def __init__(self, aim: str) -> None:
        self._aim = aim
        self._since = time.monotonic()
        self._is_told = False

    def is_over(self) -> bool:
        """Whether a server has had its time."""
        return time.monotonic() - self._since > START_TIMEOUT

    def turn(self) -> None:
        """Until the next look."""
        if not self._is_told and time.monotonic() - self._since > SAY_AFTER:
            self._is_told = True
            _log.warning("waiting for %s", self._aim)
        time.sleep(POLL)  # noqa: TID251 - there is no loop yet, and no event tells


def _hung(directory: Path, done: str) -> EmbeddedRedisError:
    server = _read_server(directory)
    which = f"process {server.pid} at {server.socket}" if server else "it has not said where"
    return EmbeddedRedisError(
        f"the Redis of {directory} runs but has not {done} for {START_TIMEOUT:g} s: {which}."
        " End that process (kill -9) and start again"
    )


def _launch_missing(directory: Path, binary: Path | None) -> bool:
    """Start whichever of server and waiter is missing; True if it was the server."""
    with contextlib.ExitStack() as stack:
        server = _try_lock(stack, directory / "server.lock")
        waiter = _try_lock(stack, directory / "waiter.lock")
        command: list[str] = []
        if server is not None:
            os.ftruncate(server, 0)
            chosen = choose_binary(directory, binary)
            command = [str(chosen.path), *_server_options(directory)]
            record_version(directory, chosen)
            _log.info("starting redis-server %s in %s", dotted(chosen.version), directory)
        if server is not None or waiter is not None:
            _run_keeper(directory, server, waiter, command)
    return bool(command)


def _run_keeper(
    directory: Path, server: int | None, waiter: int | None, command: list[str]
) -> None:
    path = directory / "redis.log"
    if path.exists() and path.stat().st_size > LOG_MAX:
        path.replace(directory / "redis.log.1")
    locks = [str(-1 if lock is None else lock) for lock in (server, waiter)]
    paths = [directory / "users.lock", directory / "server.lock", socket_path(directory)]
    with path.open("ab") as log:
        if command:
            log.write(_START_MARK + b"\n")
            log.flush()
        subprocess.run(
            [sys.executable, "-I", "-S", "-c", _KEEPER, *locks, *paths, *command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[lock for lock in (server, waiter) if lock is not None],
            start_new_session=True,
            cwd="/",
            umask=0o077,
            check=False,  # what went wrong is in the log, and the locks are free again
        )


def _server_options(directory: Path) -> list[str]:
    options = {
        "port": "0",
        "unixsocket": str(socket_path(directory)),
        "unixsocketperm": "700",
        "dir": str(directory),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
        "logfile": str(directory / "redis.log"),
    }
    return [word for name, value in options.items() for word in (f"--{name}", value)]


def _read_server(directory: Path) -> Server | None:
    pid, newline, sock = (directory / "server.lock").read_bytes().partition(b"\n")
    return Server(int(pid), Path(os.fsdecode(sock))) if newline else None


def _is_ready(sock: Path) -> bool | None:
    """Whether the server is ready: False while it loads its file, None if nobody answers."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1.0)
        try:
            client.connect(str(sock))
            client.sendall(b"PING\r\n")
            reply = client.recv(64)
        except OSError:
            return None
    return not reply.startswith(b"-LOADING") if reply else None


def _own(data_dir: Path) -> Path:
    """The data directory without links, made if it is not there; ours alone, or an error."""
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory = data_dir.resolve()
    mode = _own_mode(directory)
    if mode is None or data_dir.lstat().st_uid not in (os.geteuid(), 0):  # the link's, if it is one
        raise EmbeddedRedisError(
            f"redis.data_dir: {data_dir} belongs to another user, who could put a Redis of his own"
            " there: expected a directory of yours"
        )
    if mode & 0o002:
        raise EmbeddedRedisError(
            f"redis.data_dir: everybody may write into {directory}: expected a directory that is"
            " yours alone: chmod 700 it, or name another"
        )
    if mode & 0o020:  # made under the umask 002
        directory.chmod(mode & ~0o020)
    return directory


def _own_mode(directory: Path) -> int | None:
    """The permissions of a directory that is a real one and ours, else None."""
    found = directory.lstat()
    is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
    return stat.S_IMODE(found.st_mode) if is_ours else None


def _open(path: Path) -> int:
    """A lock's file, made if it is not there. Raises EmbeddedRedisError if it is not ours."""
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise EmbeddedRedisError(f"{path} is a link; remove it") from None
        raise
    found = os.fstat(lock)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
        os.close(lock)
        raise EmbeddedRedisError(f"{path} is not a file of ours; remove it")
    return lock


def _is_locked(lock: int, kind: int) -> bool:
    """Whether the lock could be taken, at once."""
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def _held(path: Path) -> Iterator[None]:
    lock = _open(path)
    try:
        wait = _Wait(f"another process, which holds {path}")
        while not _is_locked(lock, fcntl.LOCK_EX):
            wait.turn()  # it gives up by itself; loading takes what it takes
        yield
    finally:
        os.close(lock)


def _try_lock(stack: contextlib.ExitStack, path: Path) -> int | None:
    """A descriptor that holds the lock until the stack (and every child given it) ends, or None."""
    lock = _open(path)
    stack.callback(os.close, lock)
    return lock if _is_locked(lock, fcntl.LOCK_EX) else None


def _is_free(path: Path) -> bool:
    with contextlib.ExitStack() as stack:
        return _try_lock(stack, path) is not None


def socket_path(directory: Path) -> Path:
    """Where the server of a directory listens: in it, or in a private one if that is too long."""
    if len(os.fsencode(directory / "redis.sock")) <= SOCKET_PATH_MAX:
        return directory / "redis.sock"
    name = hashlib.sha256(os.fsencode(directory)).hexdigest()[:16] + ".sock"
    parents = [Path(tempfile.gettempdir(), f"fetchpool-{os.geteuid()}")]
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        parents.insert(0, Path(runtime, "fetchpool"))
    for parent in parents:
        if parent.parent.is_dir() and len(os.fsencode(parent / name)) <= SOCKET_PATH_MAX:
            parent.mkdir(mode=0o700, exist_ok=True)
            mode = _own_mode(parent)
            if mode is None:
                raise EmbeddedRedisError(f"{parent} is not a directory of ours; remove it")
            if mode & 0o077:
                raise EmbeddedRedisError(f"{parent} is open to others; chmod 700 it")
            return parent / name
    raise EmbeddedRedisError(f"{directory} is too long for a Unix socket; shorten redis.data_dir")


def _describe_failure(directory: Path) -> str:
    """What the log says since the last start, and the way out if the data are damaged."""
    path = directory / "redis.log"
    log = path.read_bytes()[-LOG_MAX:].rpartition(_START_MARK)[2].decode(errors="replace")
    last = "\n".join([line for line in log.splitlines() if line.strip()][-5:])
    text = f"redis-server did not start in {directory}; the end of {path}:\n{last}"
    damaged = re.search(r"Bad file format reading the append only file(?: (\S+))?:", log)
    if not damaged:
        return text
    whole = part = check = directory / "appendonly.aof"
    if damaged[1]:  # the layout of Redis 7
        whole = directory / "appendonlydir"
        part, check = whole / damaged[1], whole / "appendonly.aof.manifest"
    return (
        f"{text}\n{part} is damaged. To start empty, move {whole} aside. To keep only what stands "
        f"before the damage, copy {whole}, then run `redis-check-aof --fix {check}` "
        "(redis-server does the same when it is called by that name)"
    )
