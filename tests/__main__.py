"""`python -m tests`: the whole suite, as two runs of pytest side by side.

What starts processes waits for them most of its time, so that the other half costs it little. The
first half is printed as it goes, the second behind it; one that failed comes last.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent
APART: Final = ("checks", "e2e", "farm", "fetchpool")  # these wait, the others compute


def main() -> int:
    """Pytest's exit code, of the half that failed if one did."""
    folders = sorted(path.name for path in ROOT.iterdir() if (path / "__init__.py").is_file())
    others = [f"tests/{name}" for name in folders if name not in APART]
    files = sorted(f"tests/{path.name}" for path in ROOT.glob("test_*.py"))
    command = [sys.executable, "-m", "pytest"]
    with tempfile.TemporaryFile() as said:
        apart = subprocess.Popen(
            [*command, *(f"tests/{name}" for name in APART)],
            cwd=ROOT.parent,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
        )
        code = subprocess.run([*command, *others, *files], cwd=ROOT.parent, check=False).returncode
        other = apart.wait()
        said.seek(0)
        sys.stdout.write(said.read().decode(errors="replace"))
    if code and not other:
        sys.stdout.write(f"the first half of the tests has failed: exit code {code}\n")
    return code or other


if __name__ == "__main__":
    sys.exit(main())
