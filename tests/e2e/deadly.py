"""`main.py` with a client that ends its process at once for any URL that ends in /deadly."""

import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from fetcher.client.curl import CurlClient
from fetchpool.commands.cli.main import main

start = CurlClient.start


def start_or_die(self: CurlClient, request: Any, *rest: Any, **options: Any) -> Any:
    if request.url.endswith("/deadly"):
        os._exit(1)
    return start(self, request, *rest, **options)


if __name__ == "__main__":
    CurlClient.start = start_or_die  # type: ignore[method-assign]
    main()
