"""What `pip install .` gives: a command that works in any folder, with what it needs beside it."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.fetchpool.command import MAIN, environment
from tests.redis_server import poll

pytestmark = pytest.mark.timeout(120)

ROOT = MAIN.parent


def ask_git(*words: str) -> list[str]:
    told = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return told.stdout.split("\0")[:-1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel's packages and its command, made from what is to be committed.

    What it needs is taken from the environment of the tests.
    """
    names = ask_git("ls-files", "-z", "--cached", "--others", "--exclude-standard")
    if not names:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("this is no git checkout")
    folder = tmp_path_factory.mktemp("install")
    source, target = folder / "source", folder / "target"
    for name in names:
        if (ROOT / name).exists():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, source / name, follow_symlinks=False)
    # setuptools is here already, so that nothing has to be fetched.
    words = ["install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run(
        [sys.executable, "-m", "pip", *words, "--target", target, source],
        env=environment(),
        timeout=100,
        check=True,
    )
    return target


def run(installed: Path, folder: Path, *words: str) -> str:
    ended = subprocess.run(
        [sys.executable, installed / "bin" / "fetchpool", *words],
        cwd=folder,
        env=environment(PYTHONPATH=str(installed)),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


def test_the_wheel_holds_three_packages_and_their_data(installed: Path) -> None:
    top = {one.name for one in installed.iterdir() if not one.name.endswith(".dist-info")}
    assert top == {"fetcher", "pool", "fetchpool", "bin"}
    for name in ("config.yaml", "sources.yaml"):
        shipped = installed / "fetchpool" / "config" / name
        assert not shipped.is_symlink()
        assert shipped.read_bytes() == (ROOT / name).read_bytes()


def test_the_command_shows_the_settings_that_come_with_it(installed: Path, tmp_path: Path) -> None:
    said = run(installed, tmp_path, "config")
    assert said.startswith("# those that come with fetchpool")
    assert f"38 of 48 in {installed}/fetchpool/config/sources.yaml are on" in said


def test_the_command_serves_in_any_folder(installed: Path, tmp_path: Path) -> None:
    output = tmp_path / "said"
    offline = (
        "pool.harvest.enabled=false",
        "pool.check.enabled=false",
        "api.port=0",
        "forward.port=0",
    )
    with output.open("wb") as file:
        service = subprocess.Popen(
            [
                *(sys.executable, "-u", installed / "bin" / "fetchpool"),
                *(word for one in offline for word in ("-s", one)),
            ],
            cwd=tmp_path,
            env=environment(PYTHONPATH=str(installed)),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        api = re.compile(r"^HTTP API +(http://\S+)/ ", re.MULTILINE)
        poll(lambda: api.search(output.read_text()), "the service to say where it is", 30)
        said = output.read_text()
        assert re.search(r"^Settings +those that come with fetchpool", said, re.MULTILINE)
        found = api.search(said)
        assert found is not None
        with urllib.request.urlopen(f"{found[1]}/api/sources", timeout=20) as answer:
            sources = json.load(answer)
        assert sum(one["enabled"] for one in sources) == 38
    finally:
        service.send_signal(signal.SIGTERM)
        assert service.wait(30) == 0
    assert (tmp_path / "data").is_dir()


def test_the_command_has_the_demo(installed: Path, tmp_path: Path) -> None:
    said = run(installed, tmp_path, "demo", "--once")
    assert re.search(r"^good +8 +8 +0 +elite, CONNECT$", said, re.MULTILINE)
