"""A port for a program that has to be told which."""

import random
import socket
from pathlib import Path
from typing import Final

_RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST: Final = 15_000


def find_port() -> int:
    """One of 127.0.0.1 where nobody listens. The kernel gives it to none of the connections that
    other tests open meanwhile, as it does with one that it was asked for."""
    first = int(_RANGE.read_text().split()[0]) if _RANGE.exists() else 49_152
    while True:
        port = random.randrange(_LOWEST, first)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
