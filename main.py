#!/usr/bin/env python3
"""fetchpool's command line; `python main.py --help` names the commands."""

import sys

if __name__ == "__main__":
    try:
        from fetchpool.serve.interrupts import end_at_once

        end_at_once()  # before the imports that take their time
        from fetchpool.commands.cli.main import main

        main()
    except KeyboardInterrupt:
        sys.exit(130)
