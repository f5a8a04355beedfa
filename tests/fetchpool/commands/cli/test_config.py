import subprocess
import sys
from pathlib import Path

import pytest

from tests.fetchpool.command import MAIN, environment, refuse, run

pytestmark = pytest.mark.timeout(60)


def test_the_settings_are_shown_without_their_secrets(tmp_path: Path) -> None:
    overrides = [
        "api.key=secret-1",
        "api.keys={me: secret-2}",
        "fetcher.proxy=http://user:secret-3@127.0.0.1:8080",
        "pool.proxies=['http://user:secret-4@127.0.0.1:8080']",
        "forward.key=secret-5",
    ]
    words = [word for one in overrides for word in ("-s", one)]
    got = run(tmp_path, *words, "--redis", "redis://:secret-6@127.0.0.1:6379/0", "config")
    assert got.code == 0
    assert "secret-" not in got.out + got.err
    assert "***" in got.out


def test_without_files_those_that_are_shipped_are_in_force(tmp_path: Path) -> None:
    got = run(tmp_path, "config")
    assert got.out.startswith("# those that come with fetchpool, as there is no config.yaml here")
    assert "  sources_file: sources.yaml  # shipped; 38 of 48 in " in got.out
    assert max(map(len, got.out.splitlines())) < 250


def test_files_of_ones_own_are_written_once(tmp_path: Path) -> None:
    files = [tmp_path / "config.yaml", tmp_path / "sources.yaml"]
    got = run(tmp_path, "config", "--init")
    assert (got.code, got.out) == (0, "".join(f"{file} written\n" for file in files))
    got = run(tmp_path, "config")
    assert got.out.startswith(f"# {files[0]}\n")
    assert f"  sources_file: sources.yaml  # config.yaml; 38 of 48 in {files[1]} are on" in got.out
    files[0].unlink()
    files[1].write_text("mine")
    got = run(tmp_path, "config", "--init")
    assert (got.code, got.out) == (2, "")
    assert got.err == "fetchpool: sources.yaml is there already, and is left as it is\n"
    assert (files[0].exists(), files[1].read_text()) == (False, "mine")


def test_what_is_written_is_what_is_shipped(tmp_path: Path) -> None:
    refuse(
        tmp_path, ["-s", "api.port=1", "config", "--init"], "--init writes the files as they are"
    )


def test_a_disk_that_is_full_leaves_nothing_behind(tmp_path: Path) -> None:
    words = ["bash", "-c", 'ulimit -f 8; exec "$@"', "-", sys.executable, str(MAIN)]
    ended = subprocess.run(
        [*words, "config", "--init"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "fetchpool: config.yaml: cannot be written: File too large\n"
    assert list(tmp_path.iterdir()) == []
