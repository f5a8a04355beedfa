"""From an interpreter of which nothing is known to the command line.

What is missing there, or in the way, is a sentence and not a traceback. Only the standard library
is imported before that is known.
"""

import contextlib
import os
import sys
from importlib import import_module
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Final, NoReturn

_WRONG: Final = 2  # exit codes of the command line
_INTERRUPTED: Final = 130

_AGAIN: Final = "FETCHPOOL_STARTED_AGAIN"  # a variable that is set for the Python of `.venv`

_TOP: Final = Path(__file__).parents[1]  # a checkout, or a site-packages
_OURS: Final = ("fetcher", "pool")


def start() -> NoReturn:
    """Run the command line and exit."""
    try:
        from fetchpool.serve.interrupts import end_at_once

        end_at_once()  # before the imports that take their time
        clash = find_clash(sys.path)
        if clash is not None:
            _refuse(clash)
        try:
            from fetchpool.commands.cli.main import main
        except ModuleNotFoundError as error:
            _go_on_elsewhere(error)
        os.environ.pop(_AGAIN, None)
        main()
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)


def find_clash(path: list[str]) -> str | None:
    """Why the packages `fetcher` and `pool` that Python finds along `path` are not ours, if so."""
    for name in _OURS:
        spec = PathFinder.find_spec(name, path)
        place = Path(spec.origin).parent if spec is not None and spec.origin else None
        if place is None or not place.samefile(_TOP / name):
            return (
                f"the package {name!r} that Python finds is not fetchpool's, which lies in {_TOP}:"
                f" {_describe(name, place)}. Install fetchpool into a virtual environment of its"
                " own, and start it in a folder that holds nothing of this name"
            )
    try:
        versions = {getattr(import_module(name), "VERSION", None) for name in _OURS}
    except Exception as error:  # noqa: BLE001  # what a stranger's package does is not ours to know
        versions = {repr(error), None}
    if len(versions) > 1:
        return (
            f"the packages 'fetcher' and 'pool' in {_TOP} are not of one kind: another program's"
            " have been installed over them. Install fetchpool anew, into a virtual environment of"
            " its own"
        )
    return None


def _describe(name: str, place: Path | None) -> str:
    return f"there is none at {_TOP / name}" if place is None else f"it comes from {place}"


def _go_on_elsewhere(error: ModuleNotFoundError) -> NoReturn:
    """In a checkout's own environment, if there is one and we are not in it."""
    missing = (error.name or "").partition(".")[0]
    if missing in ("fetchpool", *_OURS):
        raise error
    here = _TOP / "main.py"
    if not here.is_file():
        _refuse(f"{error} for {sys.executable}: install fetchpool again, with what it needs")
    environment = _TOP / ".venv"
    python = environment / "bin" / "python"
    if _AGAIN not in os.environ and python.is_file() and not environment.samefile(sys.prefix):
        with contextlib.suppress(OSError):  # it is no program: then as if there were none
            os.execve(python, [str(python), *sys.orig_argv[1:]], {**os.environ, _AGAIN: "1"})
    _refuse(f"{error} for {sys.executable}: run `make setup` in {_TOP}, and start {python} {here}")


def _refuse(sentence: str) -> NoReturn:
    sys.stderr.write(f"fetchpool: {sentence}\n")
    sys.exit(_WRONG)
