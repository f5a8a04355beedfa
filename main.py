#!/usr/bin/env python3
"""fetchpool's command line; `python main.py --help` names the commands."""

from fetchpool.commands.cli.main import main

if __name__ == "__main__":
    main()
