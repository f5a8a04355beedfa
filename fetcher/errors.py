"""What can go wrong, whose fault it is, and what may be done about it.

A decision module: the table of outcomes and the tree of exceptions, nothing else.

    FetchpoolError                  everything we raise ourselves
    +-- TaskError                   the task cannot be run as it is written
    |   +-- ProxyError              a proxy in it (or in the settings) cannot be read
    +-- Refused                     a rule of ours forbids the request (guard)
    +-- StoreError                  Redis answered something that must not be

Expected ends of a transfer (time-outs, refused connections, bad bodies) are no exceptions: they
are `Response` values with an `Outcome`.
"""

import enum
from collections.abc import Mapping
from typing import Final


class FetchpoolError(Exception):
    """Base of all exceptions raised on purpose."""


class TaskError(FetchpoolError, ValueError):
    """The task cannot be run as it is written; the text says what is wrong with it."""


class ProxyError(TaskError):
    """A proxy cannot be read; the text never repeats its credentials."""


class Refused(FetchpoolError):
    """A rule of ours forbids the request; nothing of it has left."""


class StoreError(FetchpoolError):
    """Redis holds something that cannot be read."""


class Outcome(enum.Enum):
    """How a transfer ended, by whose fault it is. Retrying and scoring depend on nothing else."""

    ANSWERED = "answered"  # a complete HTTP response, whatever its status
    PROXY = "proxy"  # the proxy was not reached, refused us, or spoke nonsense: its fault
    PATH = "path"  # something behind or between: time-out, reset, refused CONNECT, certificate
    TARGET = "target"  # the name, the URL, or what the target itself sent
    OURS = "ours"  # limits, guard, cancelled, out of file descriptors: nobody else's fault


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


# code -> (outcome of a direct request, outcome through a proxy, may anything of the request have
# reached the target).
_CODES: Final[Mapping[int, tuple[Outcome, Outcome, bool]]] = {
    Code.UNSUPPORTED_PROTOCOL: (Outcome.TARGET, Outcome.PROXY, True),
    Code.URL_MALFORMAT: (Outcome.TARGET, Outcome.TARGET, False),
    Code.COULDNT_RESOLVE_PROXY: (Outcome.PROXY, Outcome.PROXY, False),
    Code.COULDNT_RESOLVE_HOST: (Outcome.TARGET, Outcome.PATH, False),
    Code.COULDNT_CONNECT: (Outcome.TARGET, Outcome.PROXY, False),
    Code.WEIRD_SERVER_REPLY: (Outcome.TARGET, Outcome.PROXY, True),
    Code.WRITE_ERROR: (Outcome.OURS, Outcome.OURS, True),
    Code.OUT_OF_MEMORY: (Outcome.OURS, Outcome.OURS, True),
    Code.SSL_CONNECT_ERROR: (Outcome.TARGET, Outcome.PATH, False),
    Code.ABORTED_BY_CALLBACK: (Outcome.OURS, Outcome.OURS, False),
    Code.INTERFACE_FAILED: (Outcome.OURS, Outcome.OURS, False),
    Code.SSL_CERTPROBLEM: (Outcome.OURS, Outcome.OURS, False),
    Code.PEER_FAILED_VERIFICATION: (Outcome.TARGET, Outcome.PATH, False),
    Code.FILESIZE_EXCEEDED: (Outcome.OURS, Outcome.OURS, True),
    Code.SSL_CACERT_BADFILE: (Outcome.OURS, Outcome.OURS, False),
    Code.PROXY: (Outcome.PROXY, Outcome.PROXY, False),
}
_OTHERS: Final = (Outcome.TARGET, Outcome.PATH, True)


def outcome_of(code: int, *, proxied: bool, connected: bool, errno: int) -> Outcome:
    """Whose fault libcurl's error `code` is.

    `connected`: a TCP connection (to the proxy, if there is one) stood; what happens before that
    is the proxy's own doing. `errno`: the OS error of the failed connect, 0 if none was given:
    out of file descriptors looks like a dead proxy but for that.
    """
    if code == Code.OK:
        return Outcome.ANSWERED
    if code == Code.COULDNT_CONNECT and errno == 0 and not connected:
        return Outcome.OURS
    if proxied and code == Code.COULDNT_CONNECT and connected:
        return Outcome.PATH  # the proxy refused the CONNECT
    if proxied and code == Code.OPERATION_TIMEDOUT and not connected:
        return Outcome.PROXY
    direct, through_proxy, _ = _CODES.get(code, _OTHERS)
    return through_proxy if proxied else direct


def may_have_been_sent(code: int) -> bool:
    """Whether something of the request may have left for the target when `code` came."""
    return _CODES.get(code, _OTHERS)[2]
