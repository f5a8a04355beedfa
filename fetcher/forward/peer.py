"""Peer: whether a connection over loopback comes from a process of our own user.

A driver: it asks the kernel about the other end's socket (sock_diag(7), some 20 us). Any user of
this machine may connect to a port on loopback; one that is open for a browser of ours is nobody
else's.
"""

import asyncio
import os
import socket
import struct
from typing import Final

_SOCK_DIAG: Final = 4  # NETLINK_SOCK_DIAG, for which Python has no name
_BY_FAMILY: Final = 20  # SOCK_DIAG_BY_FAMILY
_REQUEST: Final = 1  # NLM_F_REQUEST
_ANY_STATE: Final = 0xFFFFFFFF
_NO_COOKIE: Final = b"\xff" * 8

_HEADER: Final = struct.Struct("=IHHII")
_QUESTION: Final = struct.Struct("=BBBxI")  # family, protocol, extensions, states
_PORTS: Final = struct.Struct("!HH")
_ADDRESS: Final = 16  # bytes for each, whatever the family
_UID_AT: Final = _HEADER.size + 4 + 48 + 12  # behind family, id, expires, rqueue and wqueue
_SIZE: Final = 512
_WAIT: Final = 0.1  # seconds; the kernel answers in the call itself


def is_ours(transport: asyncio.Transport) -> bool:
    """Whether whoever is at the other end runs as our user, or nobody can tell."""
    here, there = transport.get_extra_info("sockname"), transport.get_extra_info("peername")
    if here is None or there is None:
        return False  # it has gone already
    uid = owner_of(there, here)
    return uid is None or uid == os.geteuid()


def owner_of(here: tuple[str, int], there: tuple[str, int]) -> int | None:
    """Whose the IPv4 socket is that is bound to `here` and connected to `there`; None if nobody
    can tell."""
    family = getattr(socket, "AF_NETLINK", None)
    if family is None:
        return None
    addresses = (socket.inet_aton(host).ljust(_ADDRESS, b"\0") for host, _ in (here, there))
    asked = b"".join(
        (
            _QUESTION.pack(socket.AF_INET, socket.IPPROTO_TCP, 0, _ANY_STATE),
            _PORTS.pack(here[1], there[1]),
            *addresses,
            bytes(4),  # any interface
            _NO_COOKIE,
        )
    )
    head = _HEADER.pack(_HEADER.size + len(asked), _BY_FAMILY, _REQUEST, 1, 0)
    try:
        with socket.socket(family, socket.SOCK_DGRAM, _SOCK_DIAG) as kernel:
            kernel.settimeout(_WAIT)
            kernel.sendto(head + asked, (0, 0))
            answer = kernel.recv(_SIZE)
    except OSError:  # not in this container
        return None
    if len(answer) < _UID_AT + 4 or _HEADER.unpack_from(answer)[1] != _BY_FAMILY:
        return None  # it is no more, or was never there
    uid: int = struct.unpack_from("=I", answer, _UID_AT)[0]
    return uid
