"""`python -m tests`: the whole suite, as two runs of pytest side by side.

What starts processes waits for them most of its time, so that the other half costs it little. Where
tests of a half fail they are run once more, alone: a test may mind company, and shall not fail for
that. The half that computes is printed as it goes, the other behind it, then what is run again.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent
APART: Final = ("checks", "docs", "e2e", "fetchpool")  # these wait, the others compute
FAILED: Final = 1  # pytest's code for tests that ran and failed


def build_command(name: str, paths: list[str], *words: str) -> list[str]:
    """A run of pytest, which remembers what failed in a place of its own."""
    cache = f"cache_dir=.pytest_cache/{name}"
    return [sys.executable, "-m", "pytest", "-o", cache, *words, *paths]


def main() -> int:
    """Pytest's exit code, of a half that failed if one did."""
    folders = sorted(path.name for path in ROOT.iterdir() if (path / "__init__.py").is_file())
    halves = {
        "computing": [f"tests/{name}" for name in folders if name not in APART]
        + sorted(f"tests/{path.name}" for path in ROOT.glob("test_*.py")),
        "waiting": [f"tests/{name}" for name in APART],
    }
    codes = {}
    with tempfile.TemporaryFile() as said:
        waiting = subprocess.Popen(
            build_command("waiting", halves["waiting"]),
            cwd=ROOT.parent,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
        )
        codes["computing"] = run(build_command("computing", halves["computing"]))
        codes["waiting"] = waiting.wait()
        said.seek(0)
        sys.stdout.write(said.read().decode(errors="replace"))
        sys.stdout.flush()
    for name, code in codes.items():
        if code == FAILED:
            codes[name] = run(build_command(name, halves[name], "--last-failed"))
    return max(codes.values())


def run(command: list[str]) -> int:
    return subprocess.run(command, cwd=ROOT.parent, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
