"""The command line as a user runs it: a process of its own, in a folder of its own."""

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

MAIN = Path(__file__).parents[2] / "main.py"
DEADLINE = 30.0  # seconds for any one command


class Outcome(NamedTuple):
    """What a command said and how it ended."""

    code: int
    out: str
    err: str
    raw: bytes  # `out` before it was decoded


def environment(**more: str) -> dict[str, str]:
    """Ours, without proxies or settings and with nothing that colours the output."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.lower().endswith("_proxy") and not name.startswith(("PYTHON", "FETCHPOOL"))
    }
    return {**kept, "NO_COLOR": "1", "COLUMNS": "100", **more}


def run(folder: Path, *words: str, stdin: bytes = b"", **env: str) -> Outcome:
    """Run `python main.py WORDS` in `folder`. No command may ever end with a traceback."""
    ended = subprocess.run(
        [sys.executable, MAIN, *words],
        cwd=folder,
        env=environment(**env),
        input=stdin,
        capture_output=True,
        timeout=DEADLINE,
        check=False,
    )
    out, err = ended.stdout.decode(errors="replace"), ended.stderr.decode()
    assert "Traceback" not in err, err
    assert "never awaited" not in err, err
    return Outcome(ended.returncode, out, err, ended.stdout)


def refuse(folder: Path, words: list[str], said: str) -> None:
    """The command is a wrong one: it ends with 2 and a sentence that has `said` in it."""
    got = run(folder, *words)
    assert (got.code, got.out) == (2, "")
    assert said in got.err
    assert "secret" not in got.err
    assert list(folder.iterdir()) == []
