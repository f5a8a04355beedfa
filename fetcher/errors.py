"""What can go wrong, whose fault it is, and what may be done about it.

A decision module: the table of outcomes and the tree of exceptions, nothing else.

    FetchpoolError                  everything we raise ourselves
    +-- TaskError                   the task cannot be run as it is written
    |   +-- ProxyError              a proxy in it (or in the settings) cannot be read
    |   +-- OptionError             an option of a call that there is not; a TypeError too
    +-- FetcherClosed               nobody is there any more who would run it
    +-- AnswerBroken                an answer that had begun did not come to its end
    +-- RedisAway                   Redis did not answer, or refused

Expected ends of a transfer (time-outs, refused connections, bad bodies) are no exceptions: they
are `Response` values with an `Outcome`.
"""

import enum
import errno
from collections.abc import Mapping
from typing import Final

import msgspec


class FetchpoolError(Exception):
    """Base of all exceptions raised on purpose."""


class TaskError(FetchpoolError, ValueError):
    """The task cannot be run as it is written; the text says what is wrong with it."""


class ProxyError(TaskError):
    """A proxy cannot be read; the text never repeats its credentials."""


class OptionError(TaskError, TypeError):
    """A call has an option that there is not; the text names the one that may be meant."""


class FetcherClosed(FetchpoolError):
    """The fetcher was closed before or while it was asked for a result."""

    def __init__(self) -> None:
        super().__init__("the fetcher is closed")


class AnswerBroken(FetchpoolError):
    """An answer that is read as it comes ended too early; the text says why."""


class RedisAway(FetchpoolError):
    """Redis did not answer, not in time, or refused; what was asked of it may have been done.

    `is_gone`: nobody answered at all. Whoever holds the connections says that once, for all who
    ask over them: these need not.
    """

    def __init__(self, text: str, *, is_gone: bool = False) -> None:
        super().__init__(text)
        self.is_gone = is_gone


class Outcome(enum.Enum):
    """How a transfer ended, by whose fault it is. Retrying and scoring depend on nothing else."""

    ANSWERED = "answered"  # a complete HTTP response, whatever its status
    PROXY = "proxy"  # the proxy was not reached, refused us, or spoke nonsense: its fault
    PATH = "path"  # something behind or between: time-out, reset, refused CONNECT, certificate
    TARGET = "target"  # the name, the URL, or what the target itself sent
    OURS = "ours"  # limits, guard, cancelled, out of file descriptors: nobody else's fault


ANSWERED: Final = Outcome.ANSWERED  # a member of an enumeration costs 0.05 us, a global nothing


class Code(enum.IntEnum):
    """libcurl's error codes that mean something to us (``curl/curl.h``), under its own names.

    Written out since pycurl lacks some of them, and because this module does no I/O.
    """

    OK = 0
    UNSUPPORTED_PROTOCOL = 1  # also: the answer was no HTTP/1.x at all
    URL_MALFORMAT = 3
    COULDNT_RESOLVE_PROXY = 5
    COULDNT_RESOLVE_HOST = 6
    COULDNT_CONNECT = 7  # also: CONNECT refused, guard refused, out of file descriptors
    WEIRD_SERVER_REPLY = 8
    HTTP2 = 16
    PARTIAL_FILE = 18
    WRITE_ERROR = 23  # our own write callback said stop
    READ_ERROR = 26  # what we were to send, or to read from a disk, could not be read
    OUT_OF_MEMORY = 27
    OPERATION_TIMEDOUT = 28
    SSL_CONNECT_ERROR = 35
    ABORTED_BY_CALLBACK = 42
    INTERFACE_FAILED = 45
    GOT_NOTHING = 52
    SEND_ERROR = 55
    RECV_ERROR = 56
    SSL_CERTPROBLEM = 58
    PEER_FAILED_VERIFICATION = 60
    BAD_CONTENT_ENCODING = 61
    SSL_CACERT_BADFILE = 77
    FILESIZE_EXCEEDED = 63
    HTTP2_STREAM = 92
    PROXY = 97  # the SOCKS handshake failed


# code -> (outcome of a direct request, outcome through a proxy)
_CODES: Final[Mapping[int, tuple[Outcome, Outcome]]] = {
    Code.UNSUPPORTED_PROTOCOL: (Outcome.TARGET, Outcome.PROXY),
    Code.URL_MALFORMAT: (Outcome.TARGET, Outcome.TARGET),
    Code.COULDNT_RESOLVE_PROXY: (Outcome.PROXY, Outcome.PROXY),
    Code.COULDNT_RESOLVE_HOST: (Outcome.TARGET, Outcome.PATH),
    Code.COULDNT_CONNECT: (Outcome.TARGET, Outcome.PROXY),
    Code.WEIRD_SERVER_REPLY: (Outcome.TARGET, Outcome.PROXY),
    Code.WRITE_ERROR: (Outcome.OURS, Outcome.OURS),
    Code.READ_ERROR: (Outcome.OURS, Outcome.OURS),
    Code.OUT_OF_MEMORY: (Outcome.OURS, Outcome.OURS),
    Code.SSL_CONNECT_ERROR: (Outcome.TARGET, Outcome.PATH),
    Code.ABORTED_BY_CALLBACK: (Outcome.OURS, Outcome.OURS),
    Code.INTERFACE_FAILED: (Outcome.OURS, Outcome.OURS),
    Code.SSL_CERTPROBLEM: (Outcome.OURS, Outcome.OURS),
    Code.PEER_FAILED_VERIFICATION: (Outcome.TARGET, Outcome.PATH),
    Code.FILESIZE_EXCEEDED: (Outcome.OURS, Outcome.OURS),
    Code.SSL_CACERT_BADFILE: (Outcome.OURS, Outcome.OURS),
    Code.PROXY: (Outcome.PROXY, Outcome.PROXY),
}
_OTHERS: Final = (Outcome.TARGET, Outcome.PATH)

_TLS_FAILURES: Final = frozenset({Code.SSL_CONNECT_ERROR, Code.PEER_FAILED_VERIFICATION})
PROXY_AUTHENTICATION_REQUIRED: Final = 407

# Errors of connect by which we have too few of something; they say nothing of the other side.
_OUR_WANT: Final = frozenset(
    {errno.EADDRNOTAVAIL, errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
)

# CURLINFO_PROXY_ERROR (``curl/curl.h``): what a SOCKS proxy understood but did not carry out
# (CURLPX_REPLY_* of RFC 1928 section 6, CURLPX_REQUEST_FAILED of SOCKS4), and where it wants to
# know better who asks (CURLPX_IDENTD*, CURLPX_NO_AUTH, CURLPX_USER_REJECTED).
_SOCKS_REFUSALS: Final = range(17, 27)
_SOCKS_STRANGERS: Final = frozenset({7, 8, 12, 33})


class Path(msgspec.Struct, frozen=True, kw_only=True):
    """How far a failed transfer had come."""

    proxied: bool = False
    tls_proxy: bool = False  # an https:// proxy
    connected: bool = False  # a TCP connection stood: to the proxy, if there is one
    connect_code: int = 0  # what the proxy answered to CONNECT, if it did
    errno: int = 0  # the OS error of the failed connect, 0 if none was given
    socks_error: int = 0  # CURLINFO_PROXY_ERROR: where the SOCKS handshake failed


def outcome_of(code: int, path: Path) -> Outcome:
    """Whose fault libcurl's error `code` is; what happens before a proxy has let us through is
    the proxy's own doing."""
    if code == Code.OK:
        return Outcome.ANSWERED
    if code == Code.COULDNT_CONNECT and path.errno == 0 and not path.connected:
        return Outcome.OURS  # out of file descriptors looks like a dead proxy, but for that
    direct, through_proxy = _CODES.get(code, _OTHERS)
    if not path.proxied:
        return direct
    if is_stranger(path):
        return Outcome.PROXY
    if path.tls_proxy and code in _TLS_FAILURES and not path.connect_code:
        return Outcome.PROXY
    if code == Code.COULDNT_CONNECT and path.connect_code:
        return Outcome.PATH  # the proxy refused the CONNECT
    if code == Code.PROXY and path.socks_error in _SOCKS_REFUSALS:
        return Outcome.PATH  # likewise
    if code == Code.OPERATION_TIMEDOUT and not path.connected:
        return Outcome.PROXY
    return through_proxy


def is_stranger(path: Path) -> bool:
    """Whether the proxy turned us away for want of the right credentials, before the request."""
    return (
        path.connect_code == PROXY_AUTHENTICATION_REQUIRED or path.socks_error in _SOCKS_STRANGERS
    )


def is_our_want(code: int, path: Path) -> bool:
    """Whether a proxy was not reached for want of local ports, descriptors or memory."""
    return code == Code.COULDNT_CONNECT and path.errno in _OUR_WANT
