"""Handshakes with a proxy: what it is told so that a tunnel may stand, and what its answers mean.

A decision module: bytes in, steps out. CONNECT by RFC 9110 9.3.6 and RFC 9112; SOCKS by the
protocol parts of python-socks, which do no I/O. Failures are told in libcurl's codes, as fetches
have them.
"""

import base64
import re
from collections.abc import Callable, Mapping
from typing import Final, Protocol

import msgspec
from python_socks._protocols import socks4, socks5
from python_socks._protocols.errors import ReplyError

from fetcher.errors import Code
from fetcher.forward.model import Authority
from fetcher.proxy import Proxy

MAX_HEAD: Final = 65536  # bytes of all answers to a CONNECT; as fetches have it


class Send(msgspec.Struct, frozen=True):
    """Say this, and go on reading."""

    data: bytes


class Granted(msgspec.Struct, frozen=True):
    """The tunnel stands; `rest` has come through it already."""

    rest: bytes = b""
    connect_code: int = 0


class Failed(msgspec.Struct, frozen=True, kw_only=True):
    """It does not: libcurl's code, and what `errors.Path` wants to know of it."""

    code: int
    message: str
    connect_code: int = 0
    socks_error: int = 0


Step = Send | Granted | Failed | None
"""None: too little has come to tell."""


class Handshake(Protocol):
    def begin(self) -> Send | Failed:
        """What is said first."""

    def feed(self, data: bytes) -> Step:
        """Something has come."""


def build_handshake(proxy: Proxy, target: Authority, address: str | None) -> Handshake:
    """`address`: the target's, for a proxy that is told no names."""
    if not proxy.is_socks:
        return HttpConnect(proxy, target)
    host = address or target.host
    if proxy.scheme.startswith("socks5"):
        return Socks5(proxy, host, target.port)
    return Socks4(proxy, host, target.port)


# -- HTTP ------------------------------------------------------------------------------------------

_STATUS: Final = re.compile(rb"HTTP/1\.[0-9] +([1-5][0-9][0-9])(?:[ \t][^\r\n]*)?\r?\n")
_HEAD_END: Final = re.compile(rb"\r?\n\r?\n")
_BEGINNING: Final = b"HTTP/1."
# RFC 9110 9.3.6: a server must not send these with a 2xx, and a client ignores them. Who sends a
# page behind them has not understood what it was asked for.
_HAS_CONTENT: Final = re.compile(
    rb"\n(?:content-length:[ \t]*0*[1-9]|transfer-encoding:)", re.IGNORECASE
)


class HttpConnect:
    """CONNECT. Answers of 1xx are skipped, any 2xx grants."""

    def __init__(self, proxy: Proxy, target: Authority) -> None:
        self._proxy = proxy
        self._target = target
        self._buffer = b""
        self._skipped = 0  # bytes of 1xx

    def begin(self) -> Send:
        place = self._target.text
        head = f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n"
        if self._proxy.username is not None:
            pair = f"{self._proxy.username}:{self._proxy.password or ''}".encode()
            head += f"Proxy-Authorization: Basic {base64.b64encode(pair).decode()}\r\n"
        return Send(f"{head}\r\n".encode("latin-1"))

    def feed(self, data: bytes) -> Step:
        searched = max(len(self._buffer) - 3, 0)
        buffer = self._buffer = self._buffer + data if self._buffer else data
        while True:
            if buffer[: len(_BEGINNING)] != _BEGINNING[: len(buffer)]:
                return Failed(
                    code=Code.WEIRD_SERVER_REPLY, message="the proxy's answer to CONNECT is no HTTP"
                )
            end = _HEAD_END.search(buffer, searched)
            size = end.end() if end else len(buffer)
            if self._skipped + size > MAX_HEAD:
                message = f"the proxy's answer to CONNECT is over {MAX_HEAD} bytes"
                return Failed(code=Code.WEIRD_SERVER_REPLY, message=message)
            if end is None:
                return None
            step = self._read(buffer[:size], buffer[size:])
            if step is not None:
                return step
            self._skipped += size
            buffer = self._buffer = buffer[size:]
            searched = 0

    def _read(self, head: bytes, rest: bytes) -> Step:
        line = _STATUS.match(head)
        if line is None:
            message = "the proxy's answer to CONNECT has no status"
            return Failed(code=Code.WEIRD_SERVER_REPLY, message=message)
        status = int(line[1])
        if status < 200:
            return None
        if status < 300:
            if rest and _HAS_CONTENT.search(head):
                message = f"the proxy answered CONNECT with {status} and a page"
                return Failed(code=Code.WEIRD_SERVER_REPLY, message=message)
            return Granted(rest, status)
        return Failed(
            code=Code.COULDNT_CONNECT,
            message=f"CONNECT tunnel failed, response {status}",
            connect_code=status,
        )


# -- SOCKS -----------------------------------------------------------------------------------------

# CURLPX_* (``curl/curl.h``), as `errors` reads them.
_BAD_VERSION, _NO_AUTH, _REQUEST_FAILED, _UNKNOWN_FAIL = 2, 12, 26, 31
_UNASSIGNED, _USER_REJECTED, _LONG_USER = 25, 33, 11
_REPLIES: Final[Mapping[int, int]] = {1: 20, 2: 23, 3: 22, 4: 21, 5: 19, 6: 24, 7: 18, 8: 17}
_IDENTD: Final[Mapping[int, int]] = {0x5C: 7, 0x5D: 8}


class _Credentials(socks5.AuthRequest):
    """RFC 1929 counts bytes and names no charset; libcurl sends UTF-8 too."""

    def dumps(self) -> bytes:
        name, secret = self.username.encode(), self.password.encode()
        return bytes((self.VER, len(name))) + name + bytes((len(secret),)) + secret


class Socks5:
    """RFC 1928 and RFC 1929: CONNECT to a name or an address."""

    def __init__(self, proxy: Proxy, host: str, port: int) -> None:
        self._proxy = proxy
        self._request = socks5.ConnectRequest(host=host, port=port)
        self._connection = socks5.Connection()
        self._buffer = b""
        self._read: Callable[[bytes], Step] = self._read_method
        self._size: Callable[[bytes], int] = _two

    def begin(self) -> Send | Failed:
        name, secret = self._proxy.username, self._proxy.password or ""
        if name is not None and max(len(name.encode()), len(secret.encode())) > 255:
            return _fail("user and password have at most 255 bytes each in SOCKS5", _LONG_USER)
        if len(self._request.host) > 255:
            return _fail("a name has at most 255 bytes in SOCKS5", _UNKNOWN_FAIL)
        methods = socks5.AuthMethodsRequest(username=None, password=None)
        if name is not None:  # an empty password is one too
            methods.methods.append(socks5.AuthMethod.USERNAME_PASSWORD)
        return Send(self._connection.send(methods))

    def feed(self, data: bytes) -> Step:
        self._buffer += data
        size = self._size(self._buffer)
        if len(self._buffer) < size:
            return None
        message, self._buffer = self._buffer[:size], self._buffer[size:]
        step = self._read(message)
        if self._buffer and isinstance(step, Send):
            return _fail("the proxy answered before it was asked", _UNKNOWN_FAIL)
        return step

    def _read_method(self, message: bytes) -> Step:
        try:
            reply = self._connection.receive(message)
        except ReplyError as error:
            refused = message[1] == socks5.AuthMethod.NO_ACCEPTABLE
            return _fail(str(error), _NO_AUTH if refused else _BAD_VERSION)
        assert isinstance(reply, socks5.AuthMethodReply)
        if reply.method is not socks5.AuthMethod.USERNAME_PASSWORD:
            return self._ask()
        self._read = self._read_auth
        name, secret = self._proxy.username or "", self._proxy.password or ""
        return Send(self._connection.send(_Credentials(username=name, password=secret)))

    def _read_auth(self, message: bytes) -> Step:
        try:
            self._connection.receive(message)
        except ReplyError as error:
            return _fail(str(error), _USER_REJECTED)
        return self._ask()

    def _ask(self) -> Step:
        self._read, self._size = self._read_reply, _size_of_reply
        try:
            return Send(self._connection.send(self._request))
        except ValueError as error:  # what IDNA does not take
            return _fail(f"the name cannot be told to the proxy: {error}", _UNKNOWN_FAIL)

    def _read_reply(self, message: bytes) -> Step:
        try:
            self._connection.receive(message)
        except ReplyError as error:
            is_version = message[0] == socks5.SOCKS_VER
            number = _REPLIES.get(message[1], _UNASSIGNED) if message[1] else _UNKNOWN_FAIL
            return _fail(str(error), number if is_version else _BAD_VERSION)
        return Granted(self._buffer)


def _two(_: bytes) -> int:
    return 2


def _size_of_reply(data: bytes) -> int:
    """Bytes of a reply, or as many as it takes to tell."""
    if len(data) < 2:
        return 2
    if data[0] != socks5.SOCKS_VER or data[1] != socks5.ReplyCode.SUCCEEDED:
        return 2  # a failure; its address means nothing
    if len(data) < 5:
        return 5
    sizes = {1: 4, 3: 1 + data[4], 4: 16}  # of address, name with its length, IPv6 address
    return 4 + sizes.get(data[3], 0) + 2


class Socks4:
    """SOCKS4 with an address, 4a with a name."""

    def __init__(self, proxy: Proxy, host: str, port: int) -> None:
        self._request = socks4.ConnectRequest(host=host, port=port, user_id=proxy.username)
        self._connection = socks4.Connection()
        self._buffer = b""

    def begin(self) -> Send | Failed:
        try:
            return Send(self._connection.send(self._request))
        except ValueError as error:  # what is not ASCII, or what IDNA does not take
            return _fail(f"user or name cannot be told to the proxy: {error}", _LONG_USER)

    def feed(self, data: bytes) -> Step:
        self._buffer += data
        size = socks4.ConnectReply.SIZE
        if len(self._buffer) < size:
            return None
        message = self._buffer[:size]
        try:
            self._connection.receive(message)
        except ReplyError as error:
            refused = 0 if message[0] else _IDENTD.get(message[1], _REQUEST_FAILED)
            return _fail(str(error), refused or _BAD_VERSION)
        return Granted(self._buffer[size:])


def _fail(message: str, socks_error: int) -> Failed:
    return Failed(code=Code.PROXY, message=f"SOCKS: {message}", socks_error=socks_error)
