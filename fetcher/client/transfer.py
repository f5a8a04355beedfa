"""One transfer of `CurlClient`: its names, its second chances, and the Response it ends in."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final, Protocol

import pycurl
from msgspec import structs

from fetcher.client.coding import over_limit
from fetcher.client.handle import MAX_CONNECT_HEAD, AddressCheck, Handle
from fetcher.client.names import (
    NO_LOOKUPS,
    RESOLVED_HERE,
    Lookups,
    Names,
    destination_of,
    is_spelled_alike,
)
from fetcher.client.sending import Sending
from fetcher.client.stream import Stream
from fetcher.dns.cache import Addresses
from fetcher.dns.resolver import Waiter
from fetcher.errors import (
    ANSWERED,
    PROXY_AUTHENTICATION_REQUIRED,
    Code,
    Outcome,
    Path,
    is_our_want,
    is_stranger,
    outcome_of,
)
from fetcher.head import final_head
from fetcher.model import Exit, Limits, Request, Response, Sink, Timing

# RFC 9110 sets no limit; Chromium and nginx take 256 kB and 32 kB. libcurl itself stops at 300 kB.
MAX_HEAD: Final = 262144

_HEAD_ENDS: Final = (b"\n\r\n", b"\n\n")

# Addresses of one name that are tried; a refused connect is quick, a silent one takes all the time.
MAX_CONNECTS: Final = 4

# How libcurl takes a refusal of ours: of a new socket, of a kept connection. Anything else was the
# end of another address of the same name, which we had allowed.
_REFUSALS: Final = frozenset({Code.COULDNT_CONNECT, Code.ABORTED_BY_CALLBACK})

_TLS: Final = frozenset({Code.SSL_CONNECT_ERROR, Code.PEER_FAILED_VERIFICATION})

# What the end of a connection is called that nobody has expected.
_DIED: Final = frozenset({Code.HTTP2, Code.GOT_NOTHING, Code.SEND_ERROR, Code.RECV_ERROR})

# What is asked of each transfer; a constant of pycurl's costs 0.03 us a time.
_STATUS: Final = pycurl.RESPONSE_CODE
_ADDRESS: Final = pycurl.PRIMARY_IP
_FIRST_BYTE: Final = pycurl.STARTTRANSFER_TIME
_TOTAL: Final = pycurl.TOTAL_TIME
_CONNECTS: Final = pycurl.NUM_CONNECTS

_NO_ANSWERS: Final[Mapping[str, Addresses]] = {}

_TOO_LARGE: Final = 100  # CURLE_TOO_LARGE; libcurl may leave it without a word


class Owner(Protocol):
    """What a transfer needs of its client."""

    guard: AddressCheck | None

    def time(self) -> float:
        """Seconds of a steady clock."""

    def cancel(self, transfer: "CurlTransfer") -> None:
        """See `CurlTransfer.cancel`."""

    def resume(self, transfer: "CurlTransfer") -> None:
        """See `CurlTransfer.resume`."""

    def extend(self, transfer: "CurlTransfer") -> None:
        """See `CurlTransfer.extend`."""


class CurlTransfer:
    """One transfer of the thin path."""

    # With these an attribute is read at once; one that is the class's default costs 0.05 us a time.
    __slots__ = (
        "answers",
        "cancelled",
        "client",
        "exit",
        "found",
        "handle",
        "limits",
        "place",
        "request",
        "resolved",
        "sending",
        "sink",
        "started",
        "stream",
        "swept",
        "swept_at",
        "timer",
        "untried",
        "waiter",
        "was_kept",
    )

    def __init__(
        self,
        client: Owner,
        request: Request,
        exit: Exit,
        limits: Limits,
        sink: Sink,
    ) -> None:
        self.client = client
        self.request = request
        self.place = destination_of(request.url)
        self.exit = exit
        self.limits = limits
        self.sink = sink
        self.started = client.time()
        self.answers: Mapping[str, Addresses] = _NO_ANSWERS  # what the resolver said of our names
        self.found = NO_LOOKUPS
        self.untried: tuple[str, ...] = ()  # further addresses of the name that is connected to
        self.resolved = 0.0  # seconds it took
        self.waiter: Waiter | None = None
        self.handle: Handle | None = None  # while it runs
        self.cancelled = False
        self.sending: Sending | None = None  # of a body that is not there yet
        self.stream: Stream | None = None  # for a sink that is not `whole`
        self.swept = 0  # bytes that had come at the last look
        self.swept_at = 0.0
        self.timer: asyncio.Handle | None = None
        self.was_kept = False  # of a failure: the connection was not new

    def cancel(self) -> None:
        """Stop; the sink hears no more. Not from inside a libcurl callback."""
        self.client.cancel(self)

    def pause(self) -> None:
        """The sink hears no `body` until `resume`; see `model.Transfer`."""
        if self.stream is not None:
            self.stream.paused = True

    def resume(self) -> None:
        """Go on, in a later turn of the loop."""
        if self.stream is not None and self.stream.paused:
            self.stream.paused = False
            self.swept_at = 0.0  # its slowness was ours
            self.client.resume(self)

    def extend(self, seconds: float) -> None:
        """See `model.Transfer`."""
        self.limits = structs.replace(self.limits, total=seconds)
        self.client.extend(self)

    # -- names ------------------------------------------------------------------------------------

    def stop_waiting(self) -> None:
        """The answer is here, or nobody wants it any more."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if self.waiter is not None:
            self.waiter.cancel()
            self.waiter = None

    def learn(self, name: str, answer: Addresses) -> None:
        """What the resolver says of one of its names."""
        self.answers = {**self.answers, name: answer}

    def use(self, names: Names, *, judged: bool) -> Response | None:
        """Take the addresses of `names`; a Response when one has none, or may not be reached.

        `judged`: a guarded request to a trusted proxy, whose socket tells nothing of the target.
        """
        self.resolved = self.client.time() - self.started
        for name, is_proxy in ((names.proxy, True), (names.target, False)):
            answer = self.answers[name] if name is not None else None
            if answer is not None and answer.error is not None:
                return self._unresolved(answer, is_proxy=is_proxy)
        target = self.answers[names.target].addresses if names.target is not None else ()
        guard = self.client.guard
        if judged and guard is not None:
            for address in target:
                if not guard(address):
                    return Response(
                        url=self.request.url,
                        outcome=Outcome.OURS,
                        code=Code.ABORTED_BY_CALLBACK,
                        message=f"the address {address} is not public: refused",
                    )
        proxy = self.answers[names.proxy].addresses if names.proxy is not None else ()
        # It is a SOCKS proxy's business whether it reaches the target.
        first = proxy or (target if self.exit.proxy is None else ())
        self.untried = first[1:MAX_CONNECTS]
        self.found = Lookups(
            target[0] if target and not self._target_is_the_proxys() else None,
            proxy[0] if proxy else None,
        )
        return None

    def _target_is_the_proxys(self) -> bool:
        """Whether the target's name goes to the proxy, however we know its address."""
        proxy = self.exit.proxy
        return proxy is not None and proxy.scheme not in RESOLVED_HERE

    def _unresolved(self, answer: Addresses, *, is_proxy: bool) -> Response:
        code = Code.COULDNT_RESOLVE_PROXY if is_proxy else Code.COULDNT_RESOLVE_HOST
        if answer.timed_out:
            code = Code.OPERATION_TIMEDOUT
        return Response(
            url=self.request.url,
            outcome=outcome_of(
                code, Path(proxied=self.exit.proxy is not None, connected=not is_proxy)
            ),
            code=code,
            message=answer.error or "",
            unproven=is_proxy and answer.ours,
            timing=Timing(dns=self.resolved, total=self.resolved),
        )

    def may_start_again(self, code: int, message: str, response: Response) -> bool:
        """Whether a failed transfer has another chance that nobody need hear of.

        Another address of the name, when this one could not be connected to; a new connection,
        when a kept one died before a byte of an answer had come, as it does when its server has
        waited long enough: libcurl sees to that itself in HTTP/1.1, up to five times, but not in
        HTTP/2. What may not be repeated is on a fresh one in the first place.
        """
        if self.limits_left().total <= 0.001 or response.head:
            return False  # what is told to a sink begins with a head
        if self.sending is not None and self.sending.begun:
            return False
        if code == Code.COULDNT_CONNECT and not response.address and self.untried:
            address, *rest = self.untried
            self.untried = tuple(rest)
            replaced = {"proxy": address} if self.found.proxy is not None else {"target": address}
            self.found = structs.replace(self.found, **replaced)
            return True
        if not self.limits.fresh and (
            message.startswith("Connection died") or (self.was_kept and code in _DIED)
        ):
            self.limits = structs.replace(self.limits, fresh=True)
            return True
        return False

    def limits_left(self) -> Limits:
        """The limits less the time that names and other addresses have cost."""
        if self.found is NO_LOOKUPS:  # no name of this transfer was ours to look up
            return self.limits
        spent = self.client.time() - self.started
        return structs.replace(
            self.limits,
            total=max(self.limits.total - spent, 0.001),
            connect=max(self.limits.connect - spent, 0.001),
        )


def head_of(handle: Handle, transfer: CurlTransfer) -> Response:
    """The answer as far as it is known when its final head is complete.

    With an outcome but ANSWERED nobody may have it.
    """
    lines = handle.lines[: handle.head_lines]
    return response_of(handle, transfer, 0, "", final_head(b"".join(lines)))


def response_of(
    handle: Handle, transfer: CurlTransfer, code: int, message: str, head: bytes | None = None
) -> Response:
    """How the transfer ended: libcurl's `code` and `message`, or what our callbacks noted.

    `head`: if it is not all that has come of heads.
    """
    get = handle.get
    request = transfer.request
    if handle.complete:
        code, message = 0, ""
    if head is None:
        head = final_head(b"".join(handle.lines))
    response = Response(
        # Asked only of a success: for a URL that libcurl rejects the question itself fails.
        url=request.url
        if code or is_spelled_alike(request.url, transfer.place) or _is_disguised(transfer.exit)
        else get(pycurl.EFFECTIVE_URL),
        outcome=ANSWERED,
        status=get(_STATUS),
        head=head,
        body=b"".join(handle.chunks),  # no copy, if there is but one
        address=get(_ADDRESS),
        sent=True,
        timing=_timing(get, transfer.resolved),
    )
    if code or response.status < 200 or len(head) > MAX_HEAD or not head.endswith(_HEAD_ENDS):
        _explain(response, handle, transfer, code, message)
    if response.status == PROXY_AUTHENTICATION_REQUIRED and _heard_the_proxy(transfer):
        response.stranger = True
    return response


def _explain(
    response: Response, handle: Handle, transfer: CurlTransfer, code: int, message: str
) -> None:
    """Put into the response what went wrong with it, and whose fault that is."""
    get = handle.get
    exit, head = transfer.exit, response.head
    if not code and not head.endswith(_HEAD_ENDS):
        # libcurl takes a connection that is closed within the headers for a whole answer.
        code, message = Code.PARTIAL_FILE, "the answer ends within its headers"
    elif not code and response.status < 200:
        # Only 101 ends like this, and nobody has asked for another protocol.
        code, message = Code.WEIRD_SERVER_REPLY, f"HTTP {response.status} is no final answer"
    elif len(head) > MAX_HEAD:
        code, message = Code.FILESIZE_EXCEEDED, f"the headers are over {MAX_HEAD} bytes"
        response.head = head[:MAX_HEAD]
    elif transfer.sending is not None and transfer.sending.problem:
        code, message = Code.READ_ERROR, transfer.sending.problem
    elif handle.connect_size > MAX_CONNECT_HEAD:
        code = Code.WEIRD_SERVER_REPLY
        message = f"the proxy's answer to CONNECT is over {MAX_CONNECT_HEAD} bytes"
    elif handle.connect_refused:
        code = Code.COULDNT_CONNECT
        message = f"CONNECT tunnel failed, response {get(pycurl.HTTP_CONNECTCODE)}"
    elif handle.truncated:
        code = Code.FILESIZE_EXCEEDED
        message = over_limit(transfer.request.max_body)
    elif code == _TOO_LARGE:
        code, message = Code.FILESIZE_EXCEEDED, message or "a header line is over 100000 bytes"
    elif handle.refused is not None and code in _REFUSALS:
        code = Code.ABORTED_BY_CALLBACK
        message = f"the address {handle.refused} is not public: refused"
    transfer.was_kept = get(pycurl.NUM_CONNECTS) == 0
    response.code = code
    response.connect_code = get(pycurl.HTTP_CONNECTCODE)
    response.message = message or f"libcurl gives no reason for its error {code}"
    path = Path(
        proxied=exit.proxy is not None,
        tls_proxy=exit.proxy is not None and exit.proxy.scheme == "https",
        connected=get(pycurl.NUM_CONNECTS) > 0 or get(pycurl.REQUEST_SIZE) > 0,
        connect_code=response.connect_code,
        errno=get(pycurl.OS_ERRNO),
        socks_error=get(pycurl.PROXY_ERROR) if code == Code.PROXY else 0,
    )
    response.outcome = outcome_of(code, path)
    if path.tls_proxy and code in _TLS and not response.connect_code and exit.proxy is not None:
        # libcurl has the same words for both ends.
        response.message = f"the proxy {exit.proxy.authority}: {response.message}"
    if code == Code.OPERATION_TIMEDOUT and transfer.sending is not None and transfer.sending.waits:
        response.outcome = Outcome.OURS
        response.message += f": the body to send had stopped after {transfer.sending.sent} bytes"
    response.stranger = is_stranger(path)
    response.unproven = is_our_want(code, path)
    # Counts what left for the target, not the CONNECT before it.
    was_refused = _was_refused(message, transfer.limits)
    response.sent = get(pycurl.REQUEST_SIZE) > 0 and not was_refused


def _was_refused(message: str, limits: Limits) -> bool:
    """Whether HTTP/2 says that nothing was processed: REFUSED_STREAM, GOAWAY (RFC 9113 8.7).

    libcurl then tries again by itself, five times, and in the end names only the number. It has
    the same words for kept connections that died, whose requests may well have arrived.
    """
    gave_up = limits.fresh and message.startswith("Connection died, tried")
    return gave_up or "REFUSED_STREAM" in message


def _heard_the_proxy(transfer: CurlTransfer) -> bool:
    """Whether what HTTP says may be the proxy's own: through a tunnel it is the target's."""
    proxy = transfer.exit.proxy
    if proxy is None or proxy.scheme.startswith("socks"):
        return False
    return proxy.noconnect or transfer.request.url[:6].lower() != "https:"


def _is_disguised(exit: Exit) -> bool:
    """Whether libcurl was told another URL than the request's."""
    return exit.proxy is not None and exit.proxy.noconnect


def _timing(get: Callable[[int], float], resolved: float) -> Timing:
    first, total = get(_FIRST_BYTE), get(_TOTAL)
    if resolved:
        total += resolved
        first = first and first + resolved
    if not get(_CONNECTS):  # on a kept connection, or not even that
        return Timing(dns=resolved, first_byte=first, total=total)
    dns, connect = get(pycurl.NAMELOOKUP_TIME), get(pycurl.CONNECT_TIME)
    tls = get(pycurl.APPCONNECT_TIME)
    return Timing(
        dns=dns + resolved,
        connect=connect - dns if connect > dns else 0.0,
        tls=tls - connect if tls > connect else 0.0,
        first_byte=first,
        total=total,
    )


def unsent(request: Request, code: int, message: str) -> Response:
    """A transfer that never began, as libcurl refused one of its options."""
    outcome = Outcome.OURS if code == Code.OUT_OF_MEMORY else Outcome.TARGET
    return Response(url=request.url, outcome=outcome, code=code, message=message)


def code_and_message(error: Exception) -> tuple[int, str]:
    if isinstance(error, pycurl.error) and len(error.args) == 2:
        return error.args[0], error.args[1] or "libcurl refused an option"
    return Code.URL_MALFORMAT, str(error)
