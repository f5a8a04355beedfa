from pathlib import Path

import pytest

from fetcher.client.chromium.program import find_program


def program(folder: Path, name: str, mode: int = 0o755) -> str:
    path = folder / name
    path.write_text("#!/bin/sh\n")
    path.chmod(mode)
    return str(path)


def test_off_is_none(tmp_path: Path) -> None:
    assert find_program("off", [program(tmp_path, "chromium")], str(tmp_path)) is None


def test_known_places_go_before_names_on_path(tmp_path: Path) -> None:
    shell = program(tmp_path, "shell")
    wrapper = program(tmp_path, "chromium")
    assert find_program("auto", [shell], str(tmp_path)) == shell
    assert find_program("auto", [str(tmp_path / "none")], str(tmp_path)) == wrapper
    assert find_program("auto", [str(tmp_path)], "/nowhere") is None


def test_the_headless_shell_goes_before_all_others(tmp_path: Path) -> None:
    for name in ("google-chrome", "chromium", "chromium-headless-shell"):
        program(tmp_path, name)
    found = find_program("auto", [], str(tmp_path))
    assert found == str(tmp_path / "chromium-headless-shell")


@pytest.mark.parametrize("mode", [0o755, 0o644])
def test_a_path_is_that_program_if_it_is_one(tmp_path: Path, mode: int) -> None:
    path = program(tmp_path, "mine", mode)
    found = find_program(path, [], str(tmp_path))
    assert found == (path if mode == 0o755 else None)


def test_a_name_is_looked_up(tmp_path: Path) -> None:
    path = program(tmp_path, "mine")
    assert find_program("mine", [], str(tmp_path)) == path
    assert find_program("other", [], str(tmp_path)) is None
