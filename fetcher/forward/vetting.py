"""Vetting: a TLS handshake of our own through a proxy that nobody has checked.

A driver. A proxy that intercepts TLS would be seen by the client as a bad certificate; so before
his tunnel through it is granted, the same target is asked for its certificate.
"""

import asyncio
import ssl
from collections import OrderedDict
from collections.abc import Callable
from time import monotonic
from typing import Final

from fetcher.errors import ANSWERED, Code, Outcome
from fetcher.forward.connect import Connecting, Network, explain_tls
from fetcher.forward.model import Authority
from fetcher.model import Exit, Response
from fetcher.proxy import Proxy

# Ports at which servers speak TLS from the first byte on, and so may be asked.
TLS_PORTS: Final = frozenset({443, 8443})

GOOD_FOR: Final = 300.0  # seconds; by then the pool has checked it
MOST: Final = 5_000  # proxies remembered


class Vetted:
    """Proxies that showed the right certificate lately."""

    def __init__(self) -> None:
        self._until: OrderedDict[Proxy, float] = OrderedDict()

    def add(self, proxy: Proxy, now: float) -> None:
        self._until.pop(proxy, None)
        self._until[proxy] = now + GOOD_FOR
        if len(self._until) > MOST:
            self._until.popitem(last=False)

    def has(self, proxy: Proxy, now: float) -> bool:
        return self._until.get(proxy, 0.0) > now


class Vetting(asyncio.Protocol):
    """`done` hears once how it ended: ANSWERED, or what the attempt has failed by. Never behind
    `cancel`."""

    def __init__(
        self,
        network: Network,
        exit: Exit,
        target: Authority,
        limit: float,
        done: Callable[[Response], None],
    ) -> None:
        self._done: Callable[[Response], None] | None = done
        self._target = target
        self._limit = limit  # seconds
        self._connecting = Connecting(network, exit, target, limit, self._stands)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = network.tls.wrap_bio(
            self._incoming, self._outgoing, server_hostname=target.host
        )
        self._timer: asyncio.Handle | None = None

    def begin(self) -> None:
        self._connecting.begin()

    def cancel(self) -> None:
        self._done = None
        if self._timer is not None:
            self._timer.cancel()
        self._connecting.cancel()

    def _stands(self, connecting: Connecting, response: Response) -> None:
        transport = connecting.transport
        if response.outcome is not ANSWERED or transport is None:
            self._end(response)
            return
        loop = asyncio.get_running_loop()
        left = max(connecting.began + self._limit - monotonic(), 0.0)
        self._timer = loop.call_later(left, self._late)
        transport.set_protocol(self)
        if connecting.early:
            self._incoming.write(connecting.early)
        self._step()

    def data_received(self, data: bytes) -> None:
        if self._done is not None:
            self._incoming.write(data)
            self._step()

    def connection_lost(self, error: Exception | None) -> None:
        words = "reset" if error is not None else "closed"
        self._fail(Code.RECV_ERROR, f"the tunnel was {words} within the TLS handshake")

    def _late(self) -> None:
        self._fail(Code.OPERATION_TIMEDOUT, "the TLS handshake through the tunnel timed out")

    def _step(self) -> None:
        transport = self._connecting.transport
        assert transport is not None
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            transport.write(self._outgoing.read())
            return
        except ssl.SSLCertVerificationError as error:
            self._fail(Code.PEER_FAILED_VERIFICATION, explain_tls(error))
            return
        except ssl.SSLError as error:
            self._fail(Code.SSL_CONNECT_ERROR, explain_tls(error))
            return
        self._end(Response(url=self._target.url, outcome=ANSWERED))

    def _fail(self, code: int, message: str) -> None:
        self._end(Response(url=self._target.url, outcome=Outcome.PATH, code=code, message=message))

    def _end(self, response: Response) -> None:
        done = self._done
        self.cancel()
        if done is not None:
            done(response)
