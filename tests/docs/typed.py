"""What mypy says of the programs in the documents, and of one that is wrong."""

import os
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tests.docs.blocks import ROOT, Block

WRONG: Final = "wrong.py"  # in its first three lines
WRONG_TEXT: Final = """\
from fetchpool import Fetcher, Nope
import fetchpool.nope
Fetcher.from_settings().fech
"""

MYPY: Final = """\
[mypy]
python_version = 3.11
check_untyped_defs = True
warn_unreachable = True
ignore_missing_imports = True
[mypy-fetchpool.*,fetcher.*,pool.*]
ignore_missing_imports = False
follow_imports = silent
[mypy-aiohttp.*,httpx.*,requests.*,scrapy.*,twisted.*,redis.*]
follow_imports = skip
"""


def find_type_errors(folder: Path, blocks: Iterable[Block]) -> str:
    """In one run: what it takes is to read the packages that they use."""
    (folder / WRONG).write_text(WRONG_TEXT)
    for one in blocks:
        if one.language == "python" and one.skipped is None:
            below = folder / re.sub(r"\W", "_", one.document.removesuffix(".md"))
            below.mkdir(exist_ok=True)
            (below / f"line_{one.line}.py").write_text(one.text)
    return type_check(folder)


def type_check(folder: Path) -> str:
    """What mypy finds in the programs below `folder`."""
    (folder / "mypy.ini").write_text(MYPY)
    words = ["--config-file", "mypy.ini", "--cache-dir", str(ROOT / ".mypy_cache" / "docs")]
    ended = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--no-error-summary",
            "--explicit-package-bases",
            *words,
            ".",
        ],
        cwd=folder,
        env={**os.environ, "MYPYPATH": f"{folder}:{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    return ended.stdout + ended.stderr
