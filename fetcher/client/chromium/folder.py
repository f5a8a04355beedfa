"""The browser's folder: what it and playwright's driver write lies in there, and goes with it.

A driver. As long as the folder's owner lives he holds its lock, so that whoever starts next can
tell what a killed process has left behind, and clear it away: files and, if any should still run,
processes.
"""

import contextlib
import fcntl
import logging
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from fetcher.client.chromium.processes import command_of, kill_group, members

logger = logging.getLogger(__name__)

PREFIX: Final = "fetchpool-chromium-"
_LOCK: Final = "lock"
_GROUP: Final = "group"  # the browser's process group, which is its leader's pid

# Full Chromium makes a socket in its folder, and does not start where that has too long a name:
# SUN_PATH is 108 with the NUL behind it. `mkdtemp` adds eight letters.
_SOCKET: Final = "/.org.chromium.Chromium.XXXXXX/SingletonSocket"
LONGEST_ROOT: Final = 107 - len(f"/{PREFIX}12345678{_SOCKET}")
_SHORT: Final = "/tmp"


class Folder:
    """One, until `remove`."""

    def __init__(self, root: str | None = None) -> None:
        # For nobody else.
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=root or find_root()))
        self._lock = os.open(self.path / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def note_group(self, group: int) -> None:
        (self.path / _GROUP).write_text(str(group))

    def remove(self) -> None:
        """Whatever is in it, too. Harmless when it is gone."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def find_root() -> str:
    """Where these folders lie: where temporary files do, unless that name is too long for them."""
    root = tempfile.gettempdir()
    is_fit = len(os.fsencode(root)) <= LONGEST_ROOT
    return root if is_fit or not os.access(_SHORT, os.W_OK | os.X_OK) else _SHORT


def clear_leftovers(root: str | None = None) -> int:
    """How many folders were cleared away that nobody owns any more."""
    cleared = 0
    for path in Path(root or find_root()).glob(f"{PREFIX}*"):
        try:
            if path.is_symlink() or path.stat().st_uid != os.geteuid():
                continue
            lock = os.open(path / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:  # just being made, or gone
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue  # it has its owner
        finally:
            os.close(lock)
        _kill_left(path)
        shutil.rmtree(path, ignore_errors=True)
        cleared += 1
    if cleared:
        logger.info("cleared away what %d browsers had left behind", cleared)
    return cleared


def _kill_left(path: Path) -> None:
    """A pid may be somebody else's by now: only who names the folder is meant."""
    with contextlib.suppress(OSError, ValueError):
        group = int((path / _GROUP).read_text())
        if any(os.fsencode(path) in command_of(pid) for pid in members(group)):
            kill_group(group)
