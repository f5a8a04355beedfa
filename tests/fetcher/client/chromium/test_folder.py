import os
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from fetcher.client.chromium.folder import (
    LONGEST_ROOT,
    PREFIX,
    Folder,
    clear_leftovers,
    find_root,
)

LEAVES = """
import os, signal, sys
from fetcher.client.chromium.folder import Folder
folder = Folder(sys.argv[1])
(folder.path / "profile").mkdir()
(folder.path / "profile" / "x").write_text("x")
folder.note_group(int(sys.argv[2]))
os.kill(os.getpid(), signal.SIGKILL)
"""


def leave(root: Path, group: int = 0) -> None:
    words = [sys.executable, "-c", LEAVES, str(root), str(group)]
    assert subprocess.run(words, check=False).returncode == -signal.SIGKILL


def test_a_folder_is_nobody_elses_and_goes_whole(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    assert folder.path.parent == tmp_path and folder.path.name.startswith(PREFIX)
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    (folder.path / "x").write_text("x")
    folder.remove()
    assert not folder.path.exists()
    folder.remove()


@pytest.mark.parametrize(("more", "is_taken"), [(-1, True), (0, True), (1, False)])
def test_it_lies_where_temporary_files_do_unless_that_name_is_too_long(
    monkeypatch: pytest.MonkeyPatch, more: int, is_taken: bool
) -> None:
    root = "/" + "t" * (LONGEST_ROOT + more - 1)
    monkeypatch.setattr(tempfile, "tempdir", root)
    assert find_root() == (root if is_taken else "/tmp")


def test_what_a_killed_process_has_left_is_cleared_away(tmp_path: Path) -> None:
    leave(tmp_path)
    [left] = tmp_path.iterdir()
    assert (left / "profile" / "x").exists()
    owned = Folder(str(tmp_path))
    (tmp_path / f"{PREFIX}new").mkdir()  # has no lock yet
    assert clear_leftovers(str(tmp_path)) == 1
    assert sorted(tmp_path.iterdir()) == sorted([owned.path, tmp_path / f"{PREFIX}new"])
    owned.remove()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "lock").write_text("")
    root = tmp_path / "root"
    root.mkdir()
    os.symlink(outside, root / f"{PREFIX}link")
    assert clear_leftovers(str(root)) == 0
    assert (outside / "lock").exists()


def test_processes_are_killed_that_still_use_it_and_no_others(tmp_path: Path) -> None:
    words = [sys.executable, "-c", "import sys; sys.stdin.read()"]

    def start(*more: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen([*words, *more], stdin=subprocess.PIPE, start_new_session=True)

    with start() as other:
        leave(tmp_path, other.pid)
        assert clear_leftovers(str(tmp_path)) == 1
        assert other.poll() is None  # a pid that is somebody else's by now
        other.kill()
    leave(tmp_path)
    [left] = tmp_path.iterdir()
    with start(f"--user-data-dir={left}/profile") as browser:
        (left / "group").write_text(str(browser.pid))
        assert clear_leftovers(str(tmp_path)) == 1
        assert browser.wait(10) == -signal.SIGKILL
