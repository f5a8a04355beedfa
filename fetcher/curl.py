"""CurlClient: libcurl's multi handle on the event loop.

A real `CurlAsyncHTTPClient` (Tornado's `fetch(HTTPRequest)` works as documented) with a thin path
beside it: `start(request, exit, limits, done)` sets only the options that the request needs, on
a handle that was reset, and calls `done` once with a `Response`. No future, no header object,
no queue of its own.

One client is one trust level: connections are never shared between guarded and open transfers,
because libcurl asks nobody before it reuses one.
"""

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Callable
from io import BytesIO
from typing import Any, Final

import pycurl
from tornado.curl_httpclient import CurlAsyncHTTPClient
from tornado.ioloop import IOLoop

from fetcher.errors import Code, Outcome, may_have_been_sent, outcome_of
from fetcher.head import final_head
from fetcher.model import Exit, Limits, Request, Response, Timing
from fetcher.request import sends_body

logger = logging.getLogger(__name__)

# 5,000 handles added in one turn stop the loop for half a second, 50 for about a millisecond.
STARTS_PER_TURN: Final = 50

# RFC 9110 sets no limit; Chromium and nginx take 256 kB and 32 kB. libcurl itself stops at 300 kB.
MAX_HEAD: Final = 262144

_PROTOCOLS: Final = pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS

# pycurl 7.49 takes the option but has no name for it (curl/curl.h, since libcurl 7.54).
_SUPPRESS_CONNECT_HEADERS: Final = 265

AddressCheck = Callable[[str], bool]


class CurlClient(CurlAsyncHTTPClient):
    """`start` many transfers on one multi handle.

    `guard`, if given, is asked about the address of every socket of this client, when it is
    opened and again before each request on it, except to a trusted proxy; False refuses.
    `ca_file` replaces libcurl's certificate authorities. `max_connections` are kept alive.
    """

    def initialize(  # type: ignore[override]
        self,
        max_clients: int = 10,
        defaults: dict[str, Any] | None = None,
        max_body_size: int = 104857600,
        *,
        guard: AddressCheck | None = None,
        ca_file: str | None = None,
        http2: bool = True,
        max_connections: int = 100,
    ) -> None:
        # The base class makes libcurl call `_set_timeout`, so what that needs comes first.
        self._loop = IOLoop.current().asyncio_loop  # type: ignore[attr-defined]
        self._timer: asyncio.Handle | None = None
        super().initialize(max_clients, defaults, max_body_size)
        self._guard = guard
        self._ca_file = ca_file
        self._http2 = http2
        self._waiting: deque[_Transfer] = deque()
        self._pump_due = False
        self._active: dict[pycurl.Curl, _Transfer] = {}
        self._spare: list[pycurl.Curl] = []
        self._multi.setopt(pycurl.M_MAXCONNECTS, max(max_connections, 10))

    # -- the thin path -------------------------------------------------------------------------

    @property
    def in_flight(self) -> int:
        """Transfers of the thin path that wait or run."""
        return len(self._waiting) + len(self._active)

    def start(
        self, request: Request, exit: Exit, limits: Limits, done: Callable[[Response], None]
    ) -> "_Transfer":
        """Begin one transfer. `done` is called once, from the loop, never from in here.

        Nothing is raised: what libcurl refuses comes as a `Response` like any other failure.
        """
        transfer = _Transfer(self, request, exit, limits, done)
        self._waiting.append(transfer)
        if not self._pump_due:
            self._pump_due = True
            self._loop.call_soon(self._pump)
        return transfer

    def _pump(self) -> None:
        self._pump_due = False
        for _ in range(min(STARTS_PER_TURN, len(self._waiting))):
            self._add(self._waiting.popleft())
        if self._waiting:
            self._pump_due = True
            self._loop.call_soon(self._pump)

    def _add(self, transfer: "_Transfer") -> None:
        if transfer.cancelled:
            return
        curl = self._spare.pop() if self._spare else pycurl.Curl()
        transfer.curl = curl
        try:
            self._set_options(curl, transfer)
            self._multi.add_handle(curl)
        except (pycurl.error, ValueError, TypeError) as error:
            code, message = _code_and_message(error)
            curl.reset()
            self._spare.append(curl)
            transfer.curl = None
            self._deliver(transfer, _unsent(transfer.request, code, message))
            return
        self._active[curl] = transfer
        if transfer.limits.first_byte:
            transfer.timer = self._loop.call_later(
                transfer.limits.first_byte, self._give_up_waiting, transfer
            )

    def _set_options(self, curl: pycurl.Curl, transfer: "_Transfer") -> None:
        request, exit, limits = transfer.request, transfer.exit, transfer.limits
        set_ = curl.setopt
        set_(pycurl.NOSIGNAL, 1)
        set_(pycurl.PROTOCOLS, _PROTOCOLS)
        set_(pycurl.URL, request.url)
        set_(pycurl.HEADERFUNCTION, transfer.head.write)
        set_(pycurl.WRITEFUNCTION, transfer.write)
        set_(pycurl.TIMEOUT_MS, max(1, int(limits.total * 1000)))
        set_(pycurl.CONNECTTIMEOUT_MS, max(1, int(min(limits.connect, limits.total) * 1000)))
        set_(pycurl.ENCODING, "" if request.decode else "identity")
        self._set_method(set_, request)
        self._set_exit(set_, request, exit)
        if limits.fresh:
            set_(pycurl.FRESH_CONNECT, 1)
        if not limits.keep:
            set_(pycurl.FORBID_REUSE, 1)
        if not request.validate_cert:
            set_(pycurl.SSL_VERIFYPEER, 0)
            set_(pycurl.SSL_VERIFYHOST, 0)
        if self._ca_file is not None:
            set_(pycurl.CAINFO, self._ca_file)
        if self._guard is not None and not (exit.proxy is not None and exit.trusted):
            set_(pycurl.OPENSOCKETFUNCTION, transfer.open_socket)
            set_(pycurl.PREREQFUNCTION, transfer.before_request)

    def _set_method(self, set_: Callable[[int, Any], Any], request: Request) -> None:
        lines = list(request.headers)
        if request.cookie is not None:
            lines.append(b"Cookie: " + request.cookie)
        if request.method == "HEAD":
            set_(pycurl.NOBODY, 1)
        elif sends_body(request):
            # POSTFIELDS makes libcurl add a form's Content-Type and, above 1 MB, an Expect;
            # only POST gets the first (pyspider's behaviour), nobody the second.
            set_(pycurl.POSTFIELDS, request.body or b"")
            lines.append(b"Expect:")
            if request.method != "POST":
                set_(pycurl.CUSTOMREQUEST, request.method)
                if not any(line[:13].lower() == b"content-type:" for line in lines):
                    lines.append(b"Content-Type:")
        elif request.method != "GET":
            set_(pycurl.CUSTOMREQUEST, request.method)
        set_(pycurl.HTTPHEADER, lines)

    def _set_exit(self, set_: Callable[[int, Any], Any], request: Request, exit: Exit) -> None:
        # Both always: libcurl applies the environment's proxies to an unset PROXY, and its
        # no_proxy even to an explicit one.
        set_(pycurl.NOPROXY, "")
        proxy = exit.proxy
        if proxy is None:
            set_(pycurl.PROXY, "")
            if not self._http2:
                set_(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
            return
        set_(pycurl.PROXY, proxy.url)
        set_(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
        set_(_SUPPRESS_CONNECT_HEADERS, 1)
        # A ticket got through one exit and shown through another would link the two.
        set_(pycurl.SSL_SESSIONID_CACHE, 0)
        if proxy.username is not None:
            # The pair is taken as it is; PROXYUSERPWD would be percent-decoded once more.
            set_(pycurl.PROXYUSERNAME, proxy.username)
            set_(pycurl.PROXYPASSWORD, proxy.password or "")
        if proxy.scheme == "https":
            # Else libcurl 8.23 opens a new TLS connection to the proxy for each plain request.
            set_(pycurl.HTTPPROXYTUNNEL, 1)

    def _give_up_waiting(self, transfer: "_Transfer") -> None:
        """The first byte did not come in time: end the attempt as libcurl would a time-out."""
        transfer.timer = None
        if transfer.curl is None or transfer.head.tell():
            return
        waited = int(transfer.limits.first_byte * 1000)
        self._end(transfer.curl, Code.OPERATION_TIMEDOUT, f"No answer within {waited} milliseconds")

    def cancel(self, transfer: "_Transfer") -> None:
        """See `_Transfer.cancel`."""
        curl, transfer.cancelled = transfer.curl, True
        if curl is not None and self._active.pop(curl, None) is not None:
            self._release(transfer, curl)

    # -- the end of a transfer -------------------------------------------------------------------

    def _finish_pending_requests(self) -> None:
        """Hand out what has ended: ours here, Tornado's own by the base class."""
        while True:
            left, succeeded, failed = self._multi.info_read()
            for curl in succeeded:
                self._finish(curl)
            for curl, code, message in failed:
                self._finish(curl, code, message)
            if not left:
                break
        if self._requests:
            self._process_queue()

    def _finish(
        self, curl: pycurl.Curl, curl_error: int | None = None, curl_message: str | None = None
    ) -> None:
        if curl in self._active:
            self._end(curl, curl_error or 0, curl_message or "")
        else:
            super()._finish(curl, curl_error, curl_message)

    def _end(self, curl: pycurl.Curl, code: int, message: str) -> None:
        transfer = self._active.pop(curl)
        response = _response(curl, transfer, code, message)
        self._release(transfer, curl)
        self._deliver(transfer, response)

    def _release(self, transfer: "_Transfer", curl: pycurl.Curl) -> None:
        """Take the handle off the multi and make it ready for anybody."""
        if transfer.timer is not None:
            transfer.timer.cancel()
            transfer.timer = None
        transfer.curl = None
        self._multi.remove_handle(curl)
        curl.reset()
        self._spare.append(curl)

    def _deliver(self, transfer: "_Transfer", response: Response) -> None:
        try:
            transfer.done(response)
        except Exception:
            logger.exception("the callback of %s failed", transfer.request.method)

    # -- libcurl's sockets and timer on the loop ---------------------------------------------------

    def _handle_socket(self, event: int, fd: int, multi: pycurl.CurlMulti, data: Any) -> None:
        """libcurl wants to watch `fd` otherwise than before.

        Always remove, then add: libcurl may close a socket and get its number back in between,
        and the kernel has forgotten the old one by then (Tornado's rule; costs nothing as
        keep-alive traffic hardly comes here).
        """
        loop = self._loop
        watched = self._fds.pop(fd, 0)
        if watched & pycurl.POLL_IN:
            loop.remove_reader(fd)
        if watched & pycurl.POLL_OUT:
            loop.remove_writer(fd)
        if event == pycurl.POLL_REMOVE:
            return
        self._fds[fd] = event
        if event & pycurl.POLL_IN:
            loop.add_reader(fd, self._on_socket, fd, pycurl.CSELECT_IN)
        if event & pycurl.POLL_OUT:
            loop.add_writer(fd, self._on_socket, fd, pycurl.CSELECT_OUT)

    def _on_socket(self, fd: int, action: int) -> None:
        # An exception out of a callback comes up through socket_action; what had ended by then
        # must be handed out all the same.
        try:
            self._multi.socket_action(fd, action)
        finally:
            self._finish_pending_requests()

    def _set_timeout(self, msecs: int) -> None:
        """libcurl wants to be called in `msecs` milliseconds; -1 means not at all."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if msecs == 0:
            self._timer = self._loop.call_soon(self._on_timer)
        elif msecs > 0:
            self._timer = self._loop.call_later(msecs / 1000, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        try:
            self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        finally:
            self._finish_pending_requests()

    def close(self) -> None:
        """Stop every transfer without calling its `done`, and free all handles and sockets."""
        self._waiting.clear()
        for curl, transfer in list(self._active.items()):
            self._release(transfer, curl)
        self._active.clear()
        for curl in self._spare:
            curl.close()
        self._spare.clear()
        self._set_timeout(-1)
        super().close()
        self._set_timeout_stopped()

    def _set_timeout_stopped(self) -> None:
        for fd, event in self._fds.items():
            if event & pycurl.POLL_IN:
                self._loop.remove_reader(fd)
            if event & pycurl.POLL_OUT:
                self._loop.remove_writer(fd)
        self._fds.clear()
        if self._timer is not None:
            self._timer.cancel()


class _Transfer:
    """One transfer of the thin path, and libcurl's callbacks for it."""

    __slots__ = (
        "cancelled",
        "chunks",
        "client",
        "curl",
        "done",
        "exit",
        "head",
        "limits",
        "refused",
        "request",
        "size",
        "timer",
        "truncated",
    )

    def __init__(
        self,
        client: CurlClient,
        request: Request,
        exit: Exit,
        limits: Limits,
        done: Callable[[Response], None],
    ) -> None:
        self.client = client
        self.request = request
        self.exit = exit
        self.limits = limits
        self.done = done
        self.curl: pycurl.Curl | None = None
        self.head = BytesIO()
        self.chunks: list[bytes] = []
        self.size = 0
        self.truncated = False
        self.refused: str | None = None
        self.cancelled = False
        self.timer: asyncio.Handle | None = None

    def cancel(self) -> None:
        """Stop; `done` will not be called. Not from inside a libcurl callback."""
        self.client.cancel(self)

    def write(self, chunk: bytes) -> int | None:
        """WRITEFUNCTION: keep the decoded body up to `max_body` bytes."""
        limit = self.request.max_body
        self.size += len(chunk)
        if limit and self.size > limit:
            self.truncated = True
            self.chunks.append(chunk[: len(chunk) - (self.size - limit)])
            return -1
        self.chunks.append(chunk)
        return None

    def open_socket(self, purpose: int, address: Any) -> socket.socket | int:
        """OPENSOCKETFUNCTION: a socket, or SOCKET_BAD when the guard refuses the address."""
        if not self._may_reach(address.addr[0]):
            return pycurl.SOCKET_BAD
        return socket.socket(address.family, address.socktype, address.protocol)

    def before_request(self, peer: str, local: str, peer_port: int, local_port: int) -> int:
        """PREREQFUNCTION: the same question for connections that are reused."""
        allowed = self._may_reach(peer)
        return pycurl.PREREQFUNC_OK if allowed else pycurl.PREREQFUNC_ABORT

    def _may_reach(self, address: Any) -> bool:
        guard = self.client._guard
        if guard is None or (isinstance(address, str) and guard(address)):
            return True
        self.refused = str(address)
        return False


def _response(curl: pycurl.Curl, transfer: _Transfer, code: int, message: str) -> Response:
    get = curl.getinfo
    request, exit = transfer.request, transfer.exit
    head = final_head(transfer.head.getvalue())
    chunks = transfer.chunks
    response = Response(
        # Asked only of a success: for a URL that libcurl rejects the question itself fails.
        url=request.url if code else get(pycurl.EFFECTIVE_URL),
        outcome=Outcome.ANSWERED,
        status=get(pycurl.RESPONSE_CODE),
        head=head,
        body=chunks[0] if len(chunks) == 1 else b"".join(chunks),
        address=get(pycurl.PRIMARY_IP),
        sent=True,
        timing=_timing(get),
    )
    if len(head) > MAX_HEAD:
        code, message = Code.FILESIZE_EXCEEDED, f"the headers are over {MAX_HEAD} bytes"
        response.head = head[:MAX_HEAD]
    elif transfer.truncated:
        code = Code.FILESIZE_EXCEEDED
        message = f"the body is over the limit of {request.max_body} bytes"
    elif transfer.refused is not None:
        code = Code.ABORTED_BY_CALLBACK
        message = f"the address {transfer.refused} is not public: refused"
    if code:
        response.code, response.message = code, message
        connected = get(pycurl.CONNECT_TIME) > 0
        response.outcome = outcome_of(
            code,
            proxied=exit.proxy is not None,
            connected=connected,
            errno=get(pycurl.OS_ERRNO),
        )
        response.sent = get(pycurl.PRETRANSFER_TIME) > 0 and may_have_been_sent(code)
    return response


def _timing(get: Callable[[int], float]) -> Timing:
    dns, connect = get(pycurl.NAMELOOKUP_TIME), get(pycurl.CONNECT_TIME)
    tls, first = get(pycurl.APPCONNECT_TIME), get(pycurl.STARTTRANSFER_TIME)
    return Timing(
        dns=dns,
        connect=max(connect - dns, 0.0),
        tls=max(tls - connect, 0.0),
        first_byte=first,
        total=get(pycurl.TOTAL_TIME),
    )


def _unsent(request: Request, code: int, message: str) -> Response:
    outcome = Outcome.OURS if code == Code.OUT_OF_MEMORY else Outcome.TARGET
    return Response(url=request.url, outcome=outcome, code=code, message=message)


def _code_and_message(error: Exception) -> tuple[int, str]:
    if isinstance(error, pycurl.error) and len(error.args) == 2:
        return error.args[0], error.args[1] or "libcurl refused an option"
    return Code.URL_MALFORMAT, str(error)
