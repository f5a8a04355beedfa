"""Connection: one client of the forward proxy, from his first byte until he is hung up on.

A driver: an asyncio protocol. The first byte tells SOCKS from HTTP. Requests are carried out one
after another, each by a `Plain`; a tunnel is for the rest of the connection, and takes it over.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol, cast

from msgspec.structs import replace

from fetcher.forward import heads, socks
from fetcher.forward.first_flight import Flight
from fetcher.forward.means import Means
from fetcher.forward.model import Authority, Caller, Refused
from fetcher.forward.plain import Plain
from fetcher.forward.reader import Body, Broken, End, Event, Head, Reader, Rest
from fetcher.forward.refusals import LOOP
from fetcher.forward.request import read_request, upgrade_flight
from fetcher.forward.target import read_authority, refuse_host, refuse_target
from fetcher.forward.tunnel import Tunnel
from fetcher.model import DIRECT, Exit

GREETING: Final = 30.0  # seconds for a head, or for all that SOCKS says first
# Seconds for which one who is hung up on may still send: closed at once, with bytes of his unread,
# the answer would be lost by a reset (RFC 9112 9.6).
LINGER: Final = 2.0
MOST_WAITING: Final = 64  # events of requests that are not their turn; then he is read no further
NEVER: Final = float("inf")


class Door(Protocol):
    """Who has let the client in."""

    closed: bool

    def came(self, connection: "Connection") -> Refused | None:
        """One more is here; he may come in, or is to be told why not."""

    def busy(self, connection: "Connection") -> None:
        """He has asked for something."""

    def idle(self, connection: "Connection") -> None:
        """He has had his answer: nothing of it is lost if he has to go."""

    def left(self, connection: "Connection") -> None:
        """He is gone."""


class Connection(asyncio.Protocol):
    """`due`: when it is given up unless something comes; `Door` looks."""

    # As the attributes of the class until they are needed.
    is_over = False  # nothing more is heard of him
    is_full = False  # he does not take what he has been answered
    no_place: Refused | None = None
    entered: str | None = None  # the key whose places it takes one of
    plain: Plain | None = None
    tunnel: Tunnel | None = None
    reader: Reader | None = None
    handshake: socks.Handshake | None = None
    asked: Caller | None = None  # of SOCKS
    passed = 0  # bytes through the tunnel, when a stop looked last
    moved = 0.0

    def __init__(self, door: Door, means: Means) -> None:
        self.door = door
        self.means = means
        self.events: deque[Event] = deque()

    @property
    def is_busy(self) -> bool:
        """Whether a request or a tunnel is under way."""
        return self.plain is not None or self.tunnel is not None

    # -- what the transport tells ------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are of no such class
        self.address = _address(transport.get_extra_info("peername"))
        self.due = time.monotonic() + GREETING
        self.no_place = self.door.came(self)

    def data_received(self, data: bytes) -> None:
        if self.is_over:
            return
        if self.reader is None and self.handshake is None:
            if data[0] in (4, socks.VERSION):  # who speaks version 4 is told so in its own words
                self.handshake = socks.Handshake(self.means.gate.needs_key)
            else:
                self.reader = Reader()
        if self.handshake is not None:
            self._act(self.handshake.feed(data))
        elif self.reader is not None:
            self.events.extend(self.reader.feed(data))
            self._go_on()
            if self.due != NEVER and not self.reader.is_between:  # a head that is not whole yet
                self.due = min(self.due, time.monotonic() + GREETING)

    def eof_received(self) -> bool:
        """He sends no more. Who waits for an answer does not do that: he has left, as squid and
        nginx take it; a tunnel hears of it by itself."""
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self.is_over = True
        if self.plain is not None:
            self.plain.cancel()
            self.plain = None
        if self.tunnel is None:
            self._leave()

    def pause_writing(self) -> None:
        self.is_full = True
        if self.plain is not None:
            self.plain.client_paused()

    def resume_writing(self) -> None:
        self.is_full = False
        if self.plain is not None:
            self.plain.client_resumed()
        elif not self.is_over:
            self._go_on()

    # -- what the door tells -----------------------------------------------------------------------

    def give_up(self) -> None:
        """It is `due`: he has said nothing for too long."""
        if self.is_over or self.reader is None or self.reader.is_between:
            self.abort()
        else:
            self._refuse(
                Refused(
                    status=408,
                    error="http_request_error",
                    sentence=f"no whole request came within {GREETING:g} s",
                )
            )

    def leave_if_still(self, seconds: float) -> None:
        """The service is stopping: go, unless something is under way that moves."""
        tunnel, now = self.tunnel, time.monotonic()
        if tunnel is not None:
            passed = tunnel.sent + tunnel.received
            if passed != self.passed or not self.moved:
                self.passed, self.moved = passed, now
            elif now - self.moved >= seconds:
                tunnel.close()
        elif self.plain is None:
            self.abort()

    def abort(self) -> None:
        if self.tunnel is not None:
            self.tunnel.close()
        else:
            self.transport.abort()

    # -- HTTP --------------------------------------------------------------------------------------

    def _go_on(self) -> None:
        """Do what has been asked for, in order."""
        events = self.events
        while events and not self.is_over:
            event, plain = events[0], self.plain
            if isinstance(event, Head):
                if plain is not None or self.is_full:
                    break  # one after another, and none for who does not take his answers
                events.popleft()
                self._begin(event)
                continue
            if isinstance(event, End):
                if plain is not None:
                    plain.end()
            elif isinstance(event, Body):
                if plain is not None:
                    plain.body(event.chunk)
            elif isinstance(event, Broken):
                if plain is not None:
                    plain.break_off(event.refused)  # its body cannot be read on, unless it is whole
                    break
                if self.is_full:
                    break
                self._refuse(event.refused)
                return
            elif plain is not None or self.is_full:
                break
            events.popleft()
        self._pace()

    def _begin(self, head: Head) -> None:
        self._work()
        caller = self._admit(_authorization(head))
        if isinstance(caller, Refused):
            self._answer_refused(head, caller)
        elif head.is_connect:
            self._connect(caller, read_authority(head.target))
        else:
            self._request(caller, head)

    def _request(self, caller: Caller, head: Head) -> None:
        asked = read_request(head)
        if isinstance(asked, Refused):
            self._answer_refused(head, asked)
            return
        refused = refuse_host(asked.host, self.means.rules.trust)
        if self.means.own.is_loop(asked.host, asked.port):
            refused = LOOP
        refused = refused or self._forbid(asked.host)
        if refused is not None:
            self._tell_witness(asked.authority, refused)
            self._answer_refused(head, refused)
        elif head.is_upgrade:
            self._connect(caller, asked.authority, flight=upgrade_flight(head, asked))
        else:
            plain = Plain(self.means, caller, head, asked, self.transport, done=self._answered)
            self.plain = plain
            plain.begin()

    def _answered(self, plain: Plain, may_go_on: bool) -> None:
        """The answer is out. `may_go_on`: so is all that was asked, and both sides know its end."""
        self.plain = None
        if self.is_over:
            return
        if not may_go_on or self.door.closed:
            self._hang_up()
            return
        self._wait(self.means.rules.idle or NEVER)
        self._go_on()

    def _work(self) -> None:
        """On what he has asked for: he is not given up meanwhile."""
        self.due = NEVER
        self.door.busy(self)

    def _wait(self, seconds: float) -> None:
        """For his next request."""
        self.due = time.monotonic() + seconds
        self.door.idle(self)

    def _pace(self) -> None:
        """Read no further while more has come than is his turn."""
        transport = self.transport
        if transport.is_closing():
            return
        wants = not self.is_full if self.plain is None else self.plain.wants_more
        pause = not self.is_over and (len(self.events) >= MOST_WAITING or not wants)
        if pause == transport.is_reading():
            if pause:
                transport.pause_reading()
            else:
                transport.resume_reading()

    def _answer_refused(self, head: Head, refused: Refused) -> None:
        """A CONNECT, what has a body that nobody wants, or what is no request of a proxy is the
        last on its connection."""
        is_last = head.is_connect or head.is_upgrade or head.length != 0 or not head.keeps
        if is_last or refused.status == 400:
            self._refuse(refused)
            return
        self._count(refused.status)
        self.transport.write(heads.build_refusal(refused, method=head.method, closes=False))
        self._wait(GREETING)

    def _refuse(self, refused: Refused) -> None:
        """The last word: nothing that he has sent behind it is carried out."""
        self._count(refused.status)
        self.transport.write(heads.build_refusal(refused, closes=True))
        self._hang_up()

    # -- tunnels -----------------------------------------------------------------------------------

    def _connect(
        self, caller: Caller, target: Authority | Refused, *, flight: bytes | None = None
    ) -> None:
        """For CONNECT, and for an Upgrade, whose request is the `flight`."""
        refused = target if isinstance(target, Refused) else self._refuse_target(target)
        if refused is not None or isinstance(target, Refused):
            assert refused is not None
            if isinstance(target, Authority):
                self._tell_witness(target, refused)
            self._refuse(refused)
            return
        rest = [event.data for event in self.events if isinstance(event, Rest)]
        self.events.clear()
        steering = caller.steering
        in_session = steering.session is not None or steering.is_sticky

        witness = self.means.witness

        def grant(exit: Exit, moves: int) -> bytes:
            if flight is not None:
                return b""
            if witness is not None:
                return heads.build_grant(DIRECT, 0)
            return heads.build_grant(exit, moves, in_session=in_session, debug=steering.is_debug)

        self._hand_over(
            caller,
            target,
            early=b"".join([flight or b"", *rest]),
            grant=grant,
            refuse=lambda refused: heads.build_refusal(refused, closes=True),
            kind="connect" if flight is None else "upgrade",
            first=Flight.TLS_OR_ANY if flight is None else Flight.REQUEST,
        )

    def _refuse_target(self, target: Authority) -> Refused | None:
        means = self.means
        is_loop = means.own.is_loop(target.host, target.port)
        refused = refuse_target(
            target, means.rules.trust, means.rules.connect_ports, is_loop=is_loop
        )
        return refused or self._forbid(target.host)

    def _forbid(self, host: str) -> Refused | None:
        witness = self.means.witness
        return None if witness is None else witness.forbid(host)

    def _tell_witness(self, target: Authority, refused: Refused) -> None:
        if self.means.witness is not None:
            self.means.witness.refused(target, refused)

    def _hand_over(
        self,
        caller: Caller,
        target: Authority,
        *,
        early: bytes,
        grant: Callable[[Exit, int], bytes],
        refuse: Callable[[Refused], bytes],
        kind: str,
        first: Flight = Flight.TLS_OR_ANY,
    ) -> None:
        self._work()
        self.is_over = True  # what comes now is the tunnel's
        self.tunnel = Tunnel(
            self.means,
            caller,
            target,
            self.transport,
            early=early,
            grant=grant,
            refuse=refuse,
            ended=self._tunnel_ended,
            first=first,
        )
        self.means.tunnels.add(self.tunnel, kind)
        self.tunnel.begin()

    def _tunnel_ended(self, tunnel: Tunnel) -> None:
        self.tunnel = None
        self.means.tunnels.remove(tunnel)
        self._leave()

    # -- SOCKS -------------------------------------------------------------------------------------

    def _act(self, actions: list[socks.Action]) -> None:
        handshake = self.handshake
        assert handshake is not None
        for action in actions:
            if isinstance(action, socks.Send):
                self.transport.write(action.data)
            elif isinstance(action, socks.Ask):
                caller = self.means.gate.admit_user(action.user, action.password)
                refused = self._enter(caller)
                if refused is not None:
                    self._count(refused.status)
                    self._act(handshake.deny(refused.sentence))
                else:
                    self._act(handshake.accept())
                return
            elif isinstance(action, socks.Fail):
                self.transport.write(action.data)
                self._hang_up()
                return
            else:
                self._connect_socks(action)
                return

    def _connect_socks(self, asked: socks.Connect) -> None:
        if self.asked is None:
            refused = self._enter(self.means.gate.admit(None))
            if refused is not None:
                self._fail_socks(refused)
                return
        caller = self.asked
        assert caller is not None
        refused = self.means.quotas.ask(caller.key) or self._refuse_target(asked.authority)
        if refused is not None:
            self._fail_socks(refused)
            return
        self._hand_over(
            caller,
            asked.authority,
            early=asked.early,
            grant=lambda exit, moves: socks.reply(socks.SUCCEEDED),
            refuse=lambda refused: socks.reply(socks.code_of(refused)),
            kind="socks5",
        )

    def _enter(self, caller: Caller | Refused) -> Refused | None:
        """Let him in; why not, if not."""
        if isinstance(caller, Refused):
            return caller
        refused = self._take_place(caller.key)
        if refused is None:
            self.asked = replace(caller, address=self.address)
        return refused

    def _fail_socks(self, refused: Refused) -> None:
        self._count(refused.status)
        self.transport.write(socks.reply(socks.code_of(refused)))
        self._hang_up()

    def _count(self, status: int) -> None:
        """He is turned away, before anything was tried for him."""
        self.means.fetcher.meters.count("turned away", str(status))

    # -- coming in and leaving ---------------------------------------------------------------------

    def _admit(self, authorization: bytes | None) -> Caller | Refused:
        """Who asks for something, if he may."""
        caller = self.means.gate.admit(authorization)
        if isinstance(caller, Refused):
            return caller
        refused = self._take_place(caller.key) or self.means.quotas.ask(caller.key)
        return refused if refused is not None else replace(caller, address=self.address)

    def _take_place(self, key: str) -> Refused | None:
        if self.no_place is not None:
            return self.no_place
        if self.entered == key:
            return None
        if self.entered is not None:  # one connection may serve several users
            self.means.quotas.leave(self.entered)
            self.entered = None
        refused = self.means.quotas.enter(key)
        if refused is None:
            self.entered = key
        return refused

    def _hang_up(self) -> None:
        self.is_over = True
        self.door.idle(self)
        self.events.clear()
        self._pace()
        if not self.transport.can_write_eof():
            self.transport.close()
            return
        self.transport.write_eof()
        self.due = time.monotonic() + LINGER

    def _leave(self) -> None:
        if self.entered is not None:
            self.means.quotas.leave(self.entered)
            self.entered = None
        self.door.left(self)


def _authorization(head: Head) -> bytes | None:
    for name, value in head.fields:
        if len(name) == 19 and name.lower() == b"proxy-authorization":
            return value
    return None


def _address(peer: object) -> str:
    """``host:port`` of a socket's other end, IPv6 in brackets."""
    if not isinstance(peer, tuple) or len(peer) < 2:
        return ""
    host, port = peer[0], peer[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
