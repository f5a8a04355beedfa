#!/usr/bin/env python3
"""fetchpool's command line; `python main.py --help` names the commands."""

import sys

if __name__ == "__main__":
    if sys.version_info < (3, 11):  # noqa: UP036  # who has no other shall be told so
        sys.exit(f"fetchpool needs Python 3.11 or newer, and {sys.executable} is not")

    from fetchpool.start import start

    start()
