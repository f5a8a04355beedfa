"""The server's side of the SOCKS handshakes: what a client asks for, as an Exchange."""

import asyncio
import ipaddress
import struct

from fetchpool.farm.exchange import Exchange, Host
from fetchpool.farm.kinds import Kind
from fetchpool.farm.streams import Streams
from fetchpool.farm.wire import Head

SOCKS4_GRANTED, SOCKS4_REFUSED = bytes([0, 0x5A]) + bytes(6), bytes([0, 0x5B]) + bytes(6)
SOCKS5_GRANTED = bytes([5, 0, 0, 1]) + bytes(6)
SOCKS5_REFUSED = bytes([5, 2, 0, 1]) + bytes(6)  # not allowed by the ruleset
NO_AUTH, BY_PASSWORD, NONE_ACCEPTED = 0, 2, 0xFF
CONNECT = 1


async def read_socks(proxy: Host, kind: Kind, client: Streams) -> Exchange | None:
    """The request after the handshake of `kind`; None if the client was turned away.

    Raises asyncio.IncompleteReadError if the client leaves halfway.
    """
    if kind in (Kind.SOCKS4, Kind.SOCKS4A):
        return await _read_socks4(proxy, client, names=kind is Kind.SOCKS4A)
    return await _read_socks5(proxy, client)


async def _read_socks4(proxy: Host, client: Streams, names: bool) -> Exchange | None:
    reader, writer = client
    version, command, port, address = struct.unpack(">BBH4s", await reader.readexactly(8))
    if version != 4:
        return None
    await reader.readuntil(b"\0")  # the user's name, which nobody checks
    host = str(ipaddress.IPv4Address(address))
    if host.startswith("0.0.0.") and host != "0.0.0.0":  # 4A: a name follows
        host = (await reader.readuntil(b"\0"))[:-1].decode() if names else ""
    if command != CONNECT or not host:
        writer.write(SOCKS4_REFUSED)
        return None
    head = Head(f"CONNECT {host}:{port} SOCKS/4")
    return Exchange(proxy, client, head, SOCKS4_GRANTED, SOCKS4_REFUSED)


async def _read_socks5(proxy: Host, client: Streams) -> Exchange | None:
    """RFC 1928, with RFC 1929 if the proxy has credentials."""
    reader, writer = client
    version, count = await reader.readexactly(2)
    methods = await reader.readexactly(count) if version == 5 else b""
    wanted = BY_PASSWORD if proxy.credentials else NO_AUTH
    if wanted not in methods:
        writer.write(bytes([5, NONE_ACCEPTED]))
        return None
    writer.write(bytes([5, wanted]))
    if wanted == BY_PASSWORD and not await _is_let_in(proxy, client):
        return None
    _, command, _, form = await reader.readexactly(4)
    host = await _read_address(reader, form)
    (port,) = struct.unpack(">H", await reader.readexactly(2))
    if command != CONNECT or not host:
        writer.write(SOCKS5_REFUSED)
        return None
    head = Head(f"CONNECT {host}:{port} SOCKS/5")
    return Exchange(proxy, client, head, SOCKS5_GRANTED, SOCKS5_REFUSED)


async def _is_let_in(proxy: Host, client: Streams) -> bool:
    reader, writer = client
    await reader.readexactly(1)  # version of the sub-negotiation
    user = await _read_text(reader)
    password = await _read_text(reader)
    is_right = (user, password) == proxy.credentials
    writer.write(bytes([1, 0 if is_right else 1]))
    return is_right


async def _read_address(reader: asyncio.StreamReader, form: int) -> str:
    if form == 1:
        return str(ipaddress.IPv4Address(await reader.readexactly(4)))
    if form == 3:
        return await _read_text(reader)
    if form == 4:
        return f"[{ipaddress.IPv6Address(await reader.readexactly(16))}]"
    return ""


async def _read_text(reader: asyncio.StreamReader) -> str:
    (length,) = await reader.readexactly(1)
    return (await reader.readexactly(length)).decode()
