"""Whom a block that runs may name: this machine, and addresses that are documentation's.

Decides only by what is written. What is there to be seen and not asked, as the address of a proxy,
is of the networks that RFC 5737 keeps for that.
"""

import ipaddress
import re
from collections.abc import Iterator
from typing import Final

_URL: Final = re.compile(r"[a-z][a-z0-9+.-]*://([^\s/?#'\"`<>|\\)]+)", re.IGNORECASE)
_NAME: Final = re.compile(
    r"(?<![@\w.-])(?:[a-z0-9-]+\.)+(?:com|org|net|io|cn|de|dev|eu|example|test)\b(?!\()",
    re.IGNORECASE,
)
_FIELD: Final = re.compile(r"\bHost: *[\w.-]+")
_ADDRESS: Final = re.compile(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d.])")
_NETWORKS: Final = tuple(
    map(
        ipaddress.ip_network,
        ("127.0.0.0/8", "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"),
    )
)


def find_strangers(text: str) -> Iterator[str]:
    """Hosts that nothing may reach; what a `Host` field says is asked of nobody."""
    text = _FIELD.sub("", text)
    for one in _URL.findall(text):
        host = re.sub(r":\d*$", "", one.rpartition("@")[2]).lower()
        if not _is_ours(host):
            yield host
    for one in _NAME.findall(text):
        if not _is_ours(one.lower()):
            yield one
    for one in _ADDRESS.findall(text):
        if not _is_ours(one):
            yield one


def _is_ours(host: str) -> bool:
    if host in ("localhost", "[::1]", "") or host.endswith(".localhost"):
        return True
    if host.startswith(("{", "$")):  # filled in by the program, from what is judged elsewhere
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return any(address in network for network in _NETWORKS)
