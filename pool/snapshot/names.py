"""What people call a proxy: its id, ``host:port``, or all of it, in any spelling.

A decision module: a text comes in, what it says goes out; `Snapshot.named` knows who is called so.
"""

import re
from typing import Final

from fetcher.errors import ProxyError
from fetcher.proxy import Proxy, parse_proxy

_PORT: Final = re.compile(r":[0-9]+/?(\?noconnect)?\Z")
_ID: Final = re.compile(r"[0-9a-f]{16}")


def names_port(text: str) -> bool:
    """Whether a text that is readable as a proxy says which port it means."""
    return _PORT.search(text.strip()) is not None


def read_name(text: str) -> Proxy | None:
    """The proxy that is spelled so; None for an id, and for what no proxy is called.

    Raises ProxyError for a host without a port: no default stands for what is to be removed.
    """
    try:
        proxy = parse_proxy(text)
    except ProxyError:
        return None
    if names_port(text):
        return proxy
    if _ID.fullmatch(text.strip()):
        return None
    raise ProxyError(f"{proxy.host} names no port: write host:port, or the id that the list gives")


def is_whole(text: str) -> bool:
    """Whether a proxy is spelled with its scheme, user or options, and so means that one alone."""
    return any(mark in text for mark in ("://", "@", "?"))
