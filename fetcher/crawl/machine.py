"""What a process is called among those of a crawl, and whether one of this machine is gone.

A driver: it asks the system. A name is ``HOST:WHERE:PID:TOKEN``; processes of one HOST and WHERE
can see each other, so that one that was killed need not be waited for.
"""

import os
import secrets
import socket
from functools import lru_cache
from pathlib import Path


@lru_cache(maxsize=1)
def machine() -> str:
    """This machine as parts of outputs name it."""
    return socket.gethostname().replace(":", "_")


@lru_cache(maxsize=1)
def _where() -> str:
    """Of the processes that we see by their number: since which boot, in which namespace."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8]
        return boot + str(os.stat("/proc/self/ns/pid").st_ino)
    except OSError:
        return secrets.token_hex(8)  # nobody is like us


def worker_name() -> str:
    return f"{machine()}:{_where()}:{os.getpid()}:{secrets.token_hex(4)}"


def is_gone(worker: str) -> bool:
    """Whether it was a process of this machine, and is no more; False where nobody can tell."""
    host, where, pid, _ = (*worker.split(":"), "", "", "")[:4]
    if (host, where) != (machine(), _where()) or not pid.isdecimal():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False
