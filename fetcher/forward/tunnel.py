"""Tunnel: from a client's wish to the end of his tunnel.

A driver, readable from top to bottom. The client is granted his tunnel once. What he sends first is
kept until what comes back shows that the proxy told the truth; if it did not, the tunnel is opened
through another one and the same is sent again, of which he notices a delay.

    opening   no path stands yet            the client's bytes are kept
    waiting   granted; he has said nothing  his first bytes go up and are kept
    proving   his flight is up              the first bytes back are judged
    relaying  settled                       `Relay` has both sides
"""

import asyncio
import enum
from collections.abc import Callable
from time import monotonic
from typing import Final

from fetcher.errors import ANSWERED, Code, Outcome
from fetcher.forward.connect import Connecting
from fetcher.forward.first_flight import (
    MAX_FLIGHT,
    Answer,
    FirstFlight,
    Flight,
    Stage,
    find_final,
    is_greeting,
    judge,
    switches,
)
from fetcher.forward.means import Means
from fetcher.forward.model import Authority, Caller, Refused
from fetcher.forward.opening import Opening
from fetcher.forward.relay import Relay
from fetcher.model import Exit, Response
from fetcher.proxy import Proxy

# Seconds for which the first words of a server are held that are no greeting: until the client
# shows by his own whether they can be an answer.
HOLD: Final = 1.0
MAX_ANSWER: Final = 65536  # bytes that are held of what comes back
_ALIKE: Final = 16  # bytes by which what came through two proxies is known as the target's own


class State(enum.Enum):
    OPENING = "opening"
    WAITING = "waiting"
    PROVING = "proving"
    RELAYING = "relaying"
    ENDED = "ended"


class Tunnel(asyncio.Protocol):
    """See the module. `early` is what the client has sent already; `grant` makes what he is told
    when the tunnel stands, from its exit and the moves of his session, and `refuse` what he is told
    instead; `ended` is called once, however it ends."""

    state = State.OPENING
    _relay: Relay | None = None
    _upside: "_Upside | None" = None
    _timer: asyncio.Handle | None = None
    _granted = False
    _told = False  # something was written to the client
    _client_ended = False  # he has half-closed
    _paused = False
    _is_declined = False  # an Upgrade was: nothing more of the client goes up
    _holds = False  # what the server has said first
    _answer = b""  # what has come back and is not passed on
    _alert = b""  # what another proxy gave as the target's refusal
    _garbage = b""  # how began what another proxy gave as an answer
    _last_words = b""  # what the client is left with when no other proxy says better
    _since = 0.0  # when the tunnel stood
    _sent = 0  # bytes of the client that went up, each once
    _received = 0

    def __init__(
        self,
        means: Means,
        caller: Caller,
        target: Authority,
        client: asyncio.Transport,
        *,
        early: bytes,
        grant: Callable[[Exit, int], bytes],
        refuse: Callable[[Refused], bytes],
        ended: Callable[["Tunnel"], None],
        first: Flight = Flight.TLS_OR_ANY,
    ) -> None:
        self.caller = caller
        self.target = target
        self.proxy: Proxy | None = None
        self.began = monotonic()
        self._means = means
        self._client = client
        self._grant = grant
        self._refuse = refuse
        self._ended: Callable[[Tunnel], None] | None = ended
        self._loop = asyncio.get_running_loop()
        self._flight = FirstFlight(first)
        self._is_upgrade = first is Flight.REQUEST
        if early:
            self._flight.feed(early)
        self._opening = Opening(
            means, caller, target, stands=self._stands, refused=self._is_refused
        )

    @property
    def sent(self) -> int:
        """Bytes from the client to the target."""
        return self._sent + (self._relay.sent if self._relay is not None else 0)

    @property
    def received(self) -> int:
        """Bytes from the target to the client."""
        return self._received + (self._relay.received if self._relay is not None else 0)

    @property
    def tries(self) -> int:
        """Exits that were taken so far."""
        return self._opening.tries

    def begin(self) -> None:
        self._client.set_protocol(self)
        self._opening.begin()

    def close(self) -> None:
        """From outside: whoever wants it ended."""
        if self._relay is not None:
            self._relay.close()
        else:
            self._end()

    # 1. A path stands: through the first proxy, or through another one.

    def _stands(self, connecting: Connecting) -> None:
        exit, transport = connecting.exit, connecting.transport
        assert transport is not None
        if self.state is State.ENDED:
            return
        if connecting.is_lost:
            self._replace(_lie(self.target, "the proxy closed the tunnel that it had granted"))
            return
        self.proxy = exit.proxy
        self._answer = connecting.early
        self._upside = _Upside(self)
        transport.set_protocol(self._upside)
        self._since = monotonic()
        if not self._granted:
            self._granted = True
            self._means.tally.opened += 1
            words = self._grant(exit, self._opening.moves)
            if words:
                self._told = True
                self._client.write(words)
        else:
            self._means.tally.moved += 1
        self.state = State.WAITING
        if self._flight.data:
            transport.write(self._flight.data)
            self._sent = len(self._flight.data)
        self._look()

    def _look(self) -> None:
        """What there is to be done with what both sides have said so far."""
        is_whole = self._flight.stage is Stage.WHOLE
        if is_whole and (self._is_upgrade or self._opening.may_go_on):
            self._prove()
        elif self._flight.stage is Stage.OTHER or not self._opening.may_go_on:
            self._settle(None)
        elif not self._answer:
            self._idle()
        elif not self._holds:
            self._greet()

    # 2. Nobody has said anything, or the server has spoken first.

    def _idle(self) -> None:
        idle = self._means.rules.idle
        if idle > 0:
            self._set_timer(idle, self._end)

    def _greet(self) -> None:
        if self._flight.data or not is_greeting(self._answer):
            self._set_timer(HOLD, lambda: self._settle(None))
            self._holds = True
        else:
            self._settle(None)

    # 3. The flight is up: is what comes back an answer to it?

    def _prove(self) -> None:
        if self.state is not State.PROVING:
            self.state = State.PROVING
            self._opening.put_off(monotonic() - self._since)
            if self._opening.may_go_on:
                self._set_timer(self._opening.patience, self._silent)
            else:
                self._idle()
        if self._answer:
            self._judge()

    def _judge(self) -> None:
        answer = judge(self._flight.kind, self._answer)
        if answer is Answer.MORE and len(self._answer) > MAX_ANSWER:
            answer = Answer.GARBAGE
        if answer is Answer.GOOD and self._is_upgrade:
            at = find_final(self._answer)
            if at is None:
                answer = Answer.MORE if len(self._answer) <= MAX_ANSWER else Answer.GARBAGE
            elif not switches(self._answer, at):
                self._decline(at)
        if answer is Answer.GARBAGE and not self._opening.may_go_on:  # an Upgrade's
            self._decline(0)
            self._settle(None)
        elif answer is Answer.GOOD:
            self._settle(Response(url=self.target.url, outcome=ANSWERED))
        elif answer is Answer.GARBAGE:
            if self._answer[:_ALIKE] == self._garbage:  # as below
                if self._is_upgrade:
                    self._decline(0)
                self._opening.absolve()
                self._settle(None)
                return
            self._garbage = self._answer[:_ALIKE]
            words = "what came through the tunnel is no answer to what was sent"
            self._replace(_lie(self.target, words, code=Code.WEIRD_SERVER_REPLY))
        elif answer is Answer.ALERT:
            alert = self._answer[:7]
            if alert == self._alert:  # through two proxies the same: it is the target's own
                self._opening.absolve()
                self._settle(None)
                return
            self._alert = self._last_words = alert
            words = f"TLS alert {alert[6]} instead of an answer"
            self._replace(_lie(self.target, words, code=Code.SSL_CONNECT_ERROR))

    def _decline(self, at: int) -> None:
        """The target stays with HTTP, so the client may take us for a proxy again, and send what is
        for others here: his key, too. So that answer is told to be the last."""
        line, end, rest = self._answer[at:].partition(b"\n")
        if line.startswith(b"HTTP/"):
            self._answer = self._answer[:at] + line + end + b"Connection: close\r\n" + rest
        self._is_declined = True

    def _silent(self) -> None:
        more = self._opening.patience_of_last
        if more:
            self._set_timer(more, self._give_up)
        else:
            self._give_up()

    def _give_up(self) -> None:
        waited = int((monotonic() - self._since) * 1000)
        words = f"nothing came through the tunnel within {waited} milliseconds"
        self._replace(_lie(self.target, words, code=Code.OPERATION_TIMEDOUT))

    def lost(self, error: Exception | None) -> None:
        """The proxy has closed, before a byte that counts."""
        if self._is_upgrade and not self._opening.may_go_on:
            self._client.write(self._answer)
            self._end()
        elif self.state in (State.WAITING, State.PROVING):
            if self.state is State.WAITING:
                self._last_words = self._answer
            words = "reset" if error is not None else "closed"
            self._replace(_lie(self.target, f"the tunnel was {words} before an answer"))

    def heard(self, data: bytes) -> None:
        """Something has come back."""
        if self.state not in (State.WAITING, State.PROVING):
            return
        is_first = not self._answer
        self._answer = data if is_first else self._answer + data
        if self.state is State.PROVING:
            self._judge()
        elif is_first:
            self._greet()
        elif len(self._answer) > MAX_ANSWER:
            connecting = self._opening.standing
            assert connecting is not None and connecting.transport is not None
            connecting.transport.pause_reading()  # `Relay` goes on

    def _replace(self, response: Response) -> None:
        """The path is of no use: through another proxy, if fail-over has one."""
        self._stop_timing()
        self.state = State.OPENING
        self._answer = b""
        self._upside = None
        self._opening.again(response)

    # 4. Settled.

    def _settle(self, response: Response | None) -> None:
        self._stop_timing()
        connecting = self._opening.standing
        assert connecting is not None and connecting.transport is not None
        self.state = State.RELAYING
        self._opening.settle(response)
        if self._means.witness is not None:
            self._means.witness.went(self.target, connecting.exit, self.tries)
        if self._paused:
            self._paused = False
            self._client.resume_reading()
        self._upside = None
        answer, self._answer = self._answer, b""
        flight, self._flight.data = self._flight.data, b""
        key = self.caller.key
        spend = self._means.quotas.spend
        if flight:
            spend(key, len(flight))
        self._relay = Relay(
            self._client,
            connecting.transport,
            idle=self._means.rules.idle,
            ended=self._relayed,
            spend=lambda size: spend(key, size),
            client_ended=self._client_ended,
            is_one_way=self._is_declined,
        )
        self._relay.start(answer, b"")

    def _relayed(self, relay: Relay) -> None:
        self._finish()

    # 5. The client's side, as long as it is ours.

    def data_received(self, data: bytes) -> None:
        if self.state in (State.RELAYING, State.ENDED):
            return
        self._flight.feed(data)
        if self.state is State.OPENING:
            if len(self._flight.data) >= MAX_FLIGHT and not self._paused:
                self._paused = True
                self._client.pause_reading()
            return
        connecting = self._opening.standing
        assert connecting is not None and connecting.transport is not None
        connecting.transport.write(data)
        self._sent += len(data)
        self._look()

    def eof_received(self) -> bool:
        """A client that has said all he wants may still read; in the midst of a TLS handshake, or
        before he has said anything, he has left."""
        if self.state is State.ENDED:
            return False
        self._client_ended = True
        if self._flight.stage is not Stage.OTHER and self._flight.kind is not Flight.REQUEST:
            if self.state is State.WAITING and not self._flight.data:
                self._settle(None)  # he reads what the server says
            else:
                self._end()
        return self._ended is not None and self._client.can_write_eof()  # TLS has no half-close

    def connection_lost(self, error: Exception | None) -> None:
        self._end()

    # 6. The end, in one place.

    def _is_refused(self, refused: Refused) -> None:
        """No way is left. Who has his 200 already can only be hung up on."""
        if self.state is State.ENDED:
            return
        if self._means.witness is not None:
            self._means.witness.refused(self.target, refused)
        if self._told:
            self._means.tally.broken += 1
            if self._last_words:
                self._client.write(self._last_words)
                self._received += len(self._last_words)
        else:
            self._means.tally.refused += 1
            self._client.write(self._refuse(refused))
        self._end()

    def _end(self) -> None:
        if self.state is State.ENDED:
            return
        self._stop_timing()
        self._client.close()
        self._finish()

    def _finish(self) -> None:
        """What was lent goes back; harmless when it has."""
        self.state = State.ENDED
        self._upside = None
        self._opening.cancel()
        ended, self._ended = self._ended, None
        if ended is not None:
            ended(self)
            del self._grant, self._refuse, self._client  # a circle costs 20 us to collect

    def _set_timer(self, seconds: float, call: Callable[[], None]) -> None:
        self._stop_timing()
        self._timer = self._loop.call_later(seconds, call)

    def _stop_timing(self) -> None:
        self._holds = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Upside(asyncio.Protocol):
    """The proxy's side, until it is settled: for one path, that of the tunnel's which stands."""

    def __init__(self, tunnel: Tunnel) -> None:
        self._tunnel = tunnel

    def data_received(self, data: bytes) -> None:
        if self._tunnel._upside is self:
            self._tunnel.heard(data)

    def connection_lost(self, error: Exception | None) -> None:
        if self._tunnel._upside is self:
            self._tunnel.lost(error)


def _lie(target: Authority, words: str, *, code: int = Code.RECV_ERROR) -> Response:
    """What a proxy did behind its 200. That may be the target's doing as well, whatever it is: a
    client could have any proxy blamed for a target of his own."""
    return Response(
        url=target.url,
        outcome=Outcome.PATH,
        code=code,
        message=words,
        connect_code=200,
        sent=False,  # a flight that may be sent again
    )
