"""`python -m fetchpool`: the same command line as `main.py`."""

from fetchpool.commands.cli.main import main

main()
