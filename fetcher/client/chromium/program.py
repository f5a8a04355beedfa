"""Which program is the browser.

A driver: it looks for files.
"""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

AUTO: Final = "auto"
OFF: Final = "off"

# The headless shell starts in a tenth of the time and renders four times as many pages. These are
# looked at first, as Debian's programs on PATH are shell scripts that stay in front of the browser.
PLACES: Final = (
    "/usr/lib/chromium/chromium-headless-shell",
    "/usr/lib64/chromium-browser/headless_shell",
    "/usr/lib/chromium/chromium",
    "/usr/lib/chromium-browser/chromium-browser",
    "/usr/lib64/chromium-browser/chromium-browser",
    "/opt/google/chrome/chrome",
)
NAMES: Final = (
    "chromium-headless-shell",
    "headless_shell",
    "chromium",
    "chromium-browser",
    "google-chrome-stable",
    "google-chrome",
    "chrome",
)


def find_program(
    wanted: str, places: Sequence[str] = PLACES, path: str | None = None
) -> str | None:
    """The program that `fetcher.renderer.chromium` means, None if there is none. `path`: where
    to look instead of in PATH."""
    if wanted == OFF:
        return None
    if wanted != AUTO:
        found = shutil.which(wanted, path=path)
        return os.path.abspath(found) if found is not None else None
    for place in places:
        if os.access(place, os.X_OK) and Path(place).is_file():
            return place
    for name in NAMES:
        found = shutil.which(name, path=path)
        if found is not None:
            return os.path.abspath(found)
    return None
