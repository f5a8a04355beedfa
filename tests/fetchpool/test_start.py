"""What a user meets before the command line: other packages, other Pythons."""

import subprocess
import sys
import venv
from pathlib import Path

import pytest

from fetchpool.start import find_clash
from tests.fetchpool.command import MAIN, environment

ROOT = MAIN.parent


def run(*words: str | Path, folder: Path, **env: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        words, cwd=folder, env=environment(**env), capture_output=True, text=True, timeout=30
    )


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with nothing installed."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=False, symlinks=True)
    return folder / "bin" / "python"


def copy(folder: Path) -> None:
    """A checkout of our packages, without an environment."""
    for name in ("fetcher", "pool", "fetchpool"):
        for file in (ROOT / name).rglob("*.py"):
            copied = folder / file.relative_to(ROOT)
            copied.parent.mkdir(parents=True, exist_ok=True)
            copied.write_text(file.read_text())
    (folder / "main.py").write_text(MAIN.read_text())


def test_our_own_packages_are_no_clash() -> None:
    assert find_clash([str(ROOT), *sys.path]) is None


@pytest.mark.parametrize("name", ["fetcher", "pool"])
@pytest.mark.parametrize("kind", ["package", "module", "folder"])
def test_a_package_of_one_of_our_names_stops_the_start(
    tmp_path: Path, name: str, kind: str
) -> None:
    if kind == "module":
        (tmp_path / f"{name}.py").touch()
    else:
        (tmp_path / name).mkdir()
        if kind == "package":
            (tmp_path / name / "__init__.py").touch()
    got = run(sys.executable, "-m", "fetchpool", "--version", folder=tmp_path, PYTHONPATH=str(ROOT))
    if kind == "folder":  # of another kind than ours, and so behind them
        assert got.returncode == 0
        return
    assert (got.returncode, got.stdout) == (2, "")
    assert got.stderr.startswith(f"fetchpool: the package {name!r} that Python finds is not fetch")
    assert str(tmp_path) in got.stderr and "Traceback" not in got.stderr


@pytest.mark.parametrize("text", ["", "raise RuntimeError", "VERSION = '9'"])
def test_a_package_that_was_installed_over_ours_stops_the_start(tmp_path: Path, text: str) -> None:
    for name in ("fetcher", "fetchpool"):
        (tmp_path / name).mkdir()
        for file in (ROOT / name).glob("*.py"):
            (tmp_path / name / file.name).symlink_to(file)
    (tmp_path / "fetchpool" / "serve").symlink_to(ROOT / "fetchpool" / "serve")
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool" / "__init__.py").write_text(text)
    start = tmp_path / "fetchpool" / "start.py"
    start.unlink()
    start.write_text((ROOT / "fetchpool" / "start.py").read_text())  # it looks beside itself
    got = run(sys.executable, "-m", "fetchpool", "--version", folder=tmp_path)
    assert (got.returncode, got.stdout) == (2, "")
    assert "another program's have been installed over them" in got.stderr


def test_without_what_it_needs_it_says_how_to_get_it(tmp_path: Path, bare: Path) -> None:
    copy(tmp_path)
    got = run(bare, "main.py", "--version", folder=tmp_path)
    python = tmp_path / ".venv" / "bin" / "python"
    assert (got.returncode, got.stdout) == (2, "")
    assert got.stderr == (
        f"fetchpool: No module named 'click' for {bare}: run `make setup` in {tmp_path}, and start"
        f" {python} {tmp_path / 'main.py'}\n"
    )
    (tmp_path / "main.py").rename(tmp_path / "elsewhere.py")
    got = run(bare, "elsewhere.py", "--version", folder=tmp_path)
    assert "install fetchpool again, with what it needs" in got.stderr


def test_with_an_environment_of_its_own_it_goes_on_there(tmp_path: Path, bare: Path) -> None:
    if not (ROOT / ".venv" / "bin" / "python").is_file():
        pytest.skip("these tests do not run in the checkout's own .venv")
    got = run(bare, MAIN, "--version", folder=tmp_path)
    assert (got.returncode, got.stderr) == (0, "")
    assert got.stdout.startswith("fetchpool, version ")


def test_an_old_python_is_told_so(tmp_path: Path) -> None:
    program = (
        "import runpy, sys; sys.version_info = (3, 10);"
        " runpy.run_path(sys.argv[1], run_name='__main__')"
    )
    got = run(sys.executable, "-c", program, MAIN, folder=tmp_path)
    assert (got.returncode, got.stderr) == (
        1,
        f"fetchpool needs Python 3.11 or newer, and {sys.executable} is not\n",
    )


@pytest.mark.parametrize("text", ["#!/bin/sh\nexit 9\n", "garbage", None])
def test_an_environment_that_does_not_help_is_tried_once(
    tmp_path: Path, bare: Path, text: str | None
) -> None:
    """A Python without packages, a file that is no program, and one that may not be run."""
    copy(tmp_path)
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    if text is None:
        python.symlink_to(bare)
    else:
        python.write_text(text)
        python.chmod(0o755 if text.startswith("#!") else 0o644)
    got = run(bare, "main.py", "--version", folder=tmp_path)
    if text is not None and text.startswith("#!"):
        assert got.returncode == 9
    else:
        assert (got.returncode, got.stdout) == (2, "")
        assert got.stderr.startswith("fetchpool: No module named ")
