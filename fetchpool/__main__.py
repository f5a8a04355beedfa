"""`python -m fetchpool`: the same command line as `main.py`."""

from fetchpool.cli import main

main()
