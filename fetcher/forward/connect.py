"""Connecting: one attempt to open a path to a target through one exit.

A driver, on asyncio's protocols: names, a socket, the handshake with the proxy. It ends in a
`Response` as a transfer does, so that fail-over and evidence treat both alike; when that says
ANSWERED, `transport` leads to the target.
"""

import asyncio
import errno
import os
import ssl
from collections.abc import Callable, Sequence
from functools import lru_cache
from time import monotonic
from typing import Final, cast

import msgspec

from fetcher.client.names import RESOLVED_HERE
from fetcher.client.transfer import MAX_CONNECTS
from fetcher.dns.cache import Addresses, Failure, answer_unasked, build_failure
from fetcher.dns.resolver import Resolver
from fetcher.errors import ANSWERED, Code, Outcome, Path, is_our_want, is_stranger, outcome_of
from fetcher.forward.handshakes import Failed, Granted, Handshake, Send, build_handshake
from fetcher.forward.model import Authority
from fetcher.forward.own import Own
from fetcher.guard import is_public, literal_address
from fetcher.model import Cancellable, Exit, Response, Timing, Trust

# Of the process or the machine: nobody else's fault.
_NO_DESCRIPTOR: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

# What comes before anybody reads on is held, up to this.
_HELD: Final = 65536


@lru_cache(maxsize=4)  # 10 ms, and there is a listener for each page that is rendered
def build_tls(ca_file: str | None) -> ssl.SSLContext:
    """Whom to believe, as fetches do: the authorities in `ca_file`, else the system's."""
    context = ssl.create_default_context(cafile=ca_file)
    # libcurl asks for no more than that; newer Pythons would.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


class Network(msgspec.Struct, kw_only=True):
    """What all attempts of a process share.

    `bindaddress`: an address of this machine that sockets leave from.
    """

    resolver: Resolver | None
    trust: Trust
    tls: ssl.SSLContext
    own: Own
    bindaddress: str | None = None


class Connecting(asyncio.Protocol):
    """`done` is called once, and not behind `cancel`; perhaps in `begin` itself.

    When it stands, `early` is what has come through it already. Whoever takes the transport sets
    his own protocol; until then what comes is added to `early`, and `is_lost` tells of the end.
    """

    transport: asyncio.Transport | None = None
    early = b""
    is_lost = False
    is_slow = False  # for whoever has begun it: others are told to leave its proxy alone
    error: Exception | None = None  # why it was lost, if there was more than an end
    _handshake: Handshake | None = None
    _task: asyncio.Task[None] | None = None
    _lookup: Cancellable | None = None
    _timer: asyncio.Handle | None = None
    _connected = 0.0  # when the socket was
    _resolved = 0.0  # when the names were
    _address = ""  # of the peer
    _target_address: str | None = None  # for a proxy that is told no names

    def __init__(
        self,
        network: Network,
        exit: Exit,
        target: Authority,
        limit: float,
        done: Callable[["Connecting", Response], None],
    ) -> None:
        self.exit = exit
        self.target = target
        self.limit = limit  # seconds
        self.began = monotonic()
        self._network = network
        self._done: Callable[[Connecting, Response], None] | None = done
        self._loop = asyncio.get_running_loop()

    def begin(self) -> None:
        self._timer = self._loop.call_later(self.limit, self._late)
        self._resolve_target()

    def cancel(self) -> None:
        """Stop, or drop what stands; `done` is not called. Harmless when it has failed."""
        self._done = None
        self._stop()
        if self.transport is not None:
            self.transport.abort()

    # 1. Names, and whether their addresses may be reached.

    def _resolve_target(self) -> None:
        proxy = self.exit.proxy
        if proxy is None or proxy.scheme in RESOLVED_HERE or self._is_judged:
            self._look_up(self.target.host, self._know_target)
        else:
            self._look_up(proxy.host, self._know_proxy)

    @property
    def _is_judged(self) -> bool:
        """Whether the target's address must be known although a proxy goes there."""
        return self.exit.judged and self.exit.trusted and self._network.trust is Trust.GUARDED

    def _look_up(self, host: str, known: Callable[[Addresses], None]) -> None:
        if literal_address(host) == host:
            known(Addresses((host,)))
            return
        resolver = self._network.resolver
        answer = resolver.cached(host) if resolver is not None else answer_unasked(host)
        if answer is not None:
            known(answer)
        elif resolver is None:
            known(build_failure(host, Failure.UNREACHABLE))
        else:
            self._lookup = resolver.resolve(host, known)

    def _know_target(self, answer: Addresses) -> None:
        self._lookup = None
        if answer.error is not None:
            code = Code.OPERATION_TIMEDOUT if answer.timed_out else Code.COULDNT_RESOLVE_HOST
            self._fail(code, answer.error, is_name=True)
            return
        proxy, addresses = self.exit.proxy, answer.addresses
        for address in addresses:
            if proxy is None or self._is_judged:
                reason = self._find_reason(address)
                if reason is not None:
                    self._refuse(f"{reason}: refused")
                    return
        if proxy is None:
            self._connect_to(addresses, self.target.port)
            return
        if proxy.scheme in RESOLVED_HERE:
            v4_only = proxy.scheme == "socks4"
            fit = [one for one in addresses if not (v4_only and ":" in one)]
            if not fit:
                self._fail(Code.PROXY, "SOCKS4 proxies take no IPv6 addresses", socks_error=27)
                return
            self._target_address = fit[0]
        self._look_up(proxy.host, self._know_proxy)

    def _know_proxy(self, answer: Addresses) -> None:
        self._lookup = None
        proxy = self.exit.proxy
        assert proxy is not None
        if answer.error is not None:
            code = Code.OPERATION_TIMEDOUT if answer.timed_out else Code.COULDNT_RESOLVE_PROXY
            self._fail(code, answer.error, unproven=answer.ours)
            return
        for address in answer.addresses:
            is_judged = self._network.trust is Trust.GUARDED and not self.exit.trusted
            if is_judged and not is_public(address):  # names rebind
                self._refuse(f"the address {address} is not public: refused")
                return
            if self._network.own.is_loop(address, proxy.port):
                self._refuse("this proxy is this service itself: refused")
                return
        self._connect_to(answer.addresses, proxy.port)

    def _find_reason(self, address: str) -> str | None:
        """Why the target may not be reached at this address, or None."""
        trust = self._network.trust
        if trust is Trust.GUARDED and not is_public(address):
            return f"the address {address} is not public"
        return self._network.own.refuse(address, self.target.port, trust)

    # 2. A socket: to the proxy, or to the target.

    def _connect_to(self, addresses: Sequence[str], port: int) -> None:
        self._resolved = monotonic()
        self._task = self._loop.create_task(self._connect(addresses[:MAX_CONNECTS], port))

    async def _connect(self, addresses: Sequence[str], port: int) -> None:
        """Try one after the other. A silent one gets half of the time, if there are others."""
        proxy = self.exit.proxy
        tls, name = None, None
        if proxy is not None and proxy.scheme == "https":
            tls, name = self._network.tls, proxy.host
        bind = self._network.bindaddress
        local = (bind, 0) if bind is not None else None
        for address in addresses:
            self._address = address
            is_last = address is addresses[-1]
            try:
                if is_last:
                    await self._loop.create_connection(
                        self._itself, address, port, ssl=tls, server_hostname=name, local_addr=local
                    )
                    return
                left = self.began + self.limit - monotonic()
                async with asyncio.timeout(left / 2):
                    await self._loop.create_connection(
                        self._itself, address, port, ssl=tls, server_hostname=name, local_addr=local
                    )
                return
            except ssl.SSLError as error:
                # The certificate will be the same at the next address.
                self._connected = monotonic()
                self._fail_tls(error)
                return
            except OSError as error:  # TimeoutError is one
                if error.errno in _NO_DESCRIPTOR or is_last:
                    self._fail_socket(error)
                    return

    def _itself(self) -> "Connecting":
        return self

    def _fail_tls(self, error: ssl.SSLError) -> None:
        code = Code.SSL_CONNECT_ERROR
        if isinstance(error, ssl.SSLCertVerificationError):
            code = Code.PEER_FAILED_VERIFICATION
        proxy = self.exit.proxy
        where = f"the proxy {proxy.authority}: " if proxy is not None else ""
        self._fail(code, f"{where}{explain_tls(error)}")

    def _fail_socket(self, error: OSError) -> None:
        peer = "the proxy" if self.exit.proxy is not None else "the target"
        number = error.errno or errno.ECONNREFUSED
        if isinstance(error, ConnectionResetError | BrokenPipeError | ConnectionAbortedError):
            number = errno.ECONNRESET  # within TLS: without a number of its own
        words = os.strerror(number)
        # libcurl gives no number where it gets no socket, and `outcome_of` goes by that.
        known = 0 if number in _NO_DESCRIPTOR else number
        message = f"could not connect to {peer}: {words}"
        self._fail(Code.COULDNT_CONNECT, message, number=known)

    def connection_made(self, made: asyncio.BaseTransport) -> None:
        transport = self.transport = cast(asyncio.Transport, made)  # uvloop's is none by type
        self._connected = monotonic()
        if self._done is None:
            transport.abort()
            return
        proxy = self.exit.proxy
        if proxy is None:
            self._stand(Granted())
            return
        self._handshake = build_handshake(proxy, self.target, self._target_address)
        step = self._handshake.begin()
        if isinstance(step, Send):
            transport.write(step.data)
        else:
            self._fail_handshake(step)

    # 3. The handshake with the proxy.

    def data_received(self, data: bytes) -> None:
        if self._handshake is None or self._done is None:
            self.early += data
            if len(self.early) > _HELD and self.transport is not None:
                self.transport.pause_reading()
            return
        step = self._handshake.feed(data)
        while isinstance(step, Send):
            assert self.transport is not None
            self.transport.write(step.data)
            step = None
        if isinstance(step, Granted):
            self._stand(step)
        elif isinstance(step, Failed):
            self._fail_handshake(step)

    def connection_lost(self, error: Exception | None) -> None:
        self.is_lost = True
        self.error = error
        if self._done is not None:
            words = "reset" if error is not None else "closed"
            code = Code.RECV_ERROR if error is not None else Code.GOT_NOTHING
            self._fail(code, f"the proxy {words} the connection instead of an answer to CONNECT")

    # 4. The end, in one place.

    def _stand(self, step: Granted) -> None:
        self.early = step.rest
        self._handshake = None
        response = Response(
            url=self.target.url,
            outcome=ANSWERED,
            address=self._address,
            connect_code=step.connect_code,
            timing=self._timing(),
        )
        self._end(response)

    def _late(self) -> None:
        waited = int((monotonic() - self.began) * 1000)
        what = "Connection" if self.transport is None else "CONNECT"
        self._fail(Code.OPERATION_TIMEDOUT, f"{what} timed out after {waited} milliseconds")

    def _refuse(self, message: str) -> None:
        self._end(self._response(Outcome.OURS, Code.ABORTED_BY_CALLBACK, message))

    def _fail_handshake(self, step: Failed) -> None:
        self._fail(
            step.code, step.message, connect_code=step.connect_code, socks_error=step.socks_error
        )

    def _fail(
        self,
        code: int,
        message: str,
        *,
        number: int = 0,
        connect_code: int = 0,
        socks_error: int = 0,
        is_name: bool = False,  # the target's name: nobody has asked the proxy for anything
        unproven: bool = False,
    ) -> None:
        proxy = self.exit.proxy
        path = Path(
            proxied=proxy is not None,
            tls_proxy=proxy is not None and proxy.scheme == "https" and self.transport is None,
            connected=self._connected > 0 or is_name,
            connect_code=connect_code,
            errno=number,
            socks_error=socks_error,
        )
        response = self._response(outcome_of(code, path), code, message)
        response.connect_code = connect_code
        response.stranger = is_stranger(path)
        response.unproven = unproven or is_our_want(code, path)
        self._end(response)

    def _response(self, outcome: Outcome, code: int, message: str) -> Response:
        return Response(
            url=self.target.url,
            outcome=outcome,
            code=code,
            message=message,
            address=self._address,
            timing=self._timing(),
        )

    def _timing(self) -> Timing:
        now = monotonic()
        dns = self._resolved - self.began if self._resolved else 0.0
        connect = self._connected - self._resolved if self._connected else 0.0
        return Timing(dns=dns, connect=connect, total=now - self.began)

    def _end(self, response: Response) -> None:
        done, self._done = self._done, None
        if done is None:
            return
        if response.outcome is ANSWERED:
            if self._timer is not None:
                self._timer.cancel()
        else:
            self._stop()
            if self.transport is not None:
                self.transport.abort()
        done(self, response)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._lookup is not None:
            self._lookup.cancel()
        if self._task is not None and self.transport is None and not self._is_own_task():
            self._task.cancel()

    def _is_own_task(self) -> bool:
        """Whether we are called from inside of it, where there is nothing left to stop."""
        return self._task is asyncio.current_task(self._loop)


def explain_tls(error: ssl.SSLError) -> str:
    """What was wrong, without OpenSSL's file and line."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"SSL certificate problem: {error.verify_message}"
    return f"TLS connect error: {error.reason or error}"
