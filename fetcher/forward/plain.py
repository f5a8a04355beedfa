"""Plain: one request in absolute form, from its head to the end of its answer.

A driver. It goes up by the path of every task, as what is sent once or may be sent again; the
answer comes back as it came. Each step is a call from the connection or from the fetch, so that a
short answer costs no task and no future. It can be read from top to bottom.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Final

from msgspec.structs import replace

from fetcher.forward import heads
from fetcher.forward.answer import Answer
from fetcher.forward.means import Means
from fetcher.forward.model import Caller, Refused, session_of
from fetcher.forward.reader import Head
from fetcher.forward.refusals import build_refused, refuse_response, refuse_session
from fetcher.forward.request import Asked, read_fields
from fetcher.http.incoming import IncomingBody
from fetcher.model import (
    AS_IT_CAME,
    NO_WISHES,
    Cancellable,
    Fetch,
    Result,
    Target,
    Task,
    Trust,
    Wishes,
)
from fetcher.route.route import Route
from fetcher.run.path import Ending, Fetching
from fetcher.run.terms import Terms
from fetcher.session.keeping import Keeping
from fetcher.session.model import NoExit
from fetcher.task.request import Defaults, Plan, build_plan

logger = logging.getLogger(__name__)

# Bytes of a body that are waited for and may be sent again; a longer one goes on as it comes, once.
HELD: Final = 65536

_ANY: Final = "http://localhost/"  # a plan is for any URL
_LEFT: Final = 499  # nginx's word for a client that has left, for the log

# What is said where no transfer has a word for it.
_ENDINGS: Final = {
    Ending.BAD_TASK: (400, "http_request_error"),
    Ending.REFUSED: (403, "destination_ip_prohibited"),
    Ending.NO_PROXY: (503, "destination_unavailable"),
    Ending.LATE: (504, "http_response_timeout"),
    Ending.FAILED: (502, "destination_unavailable"),
    Ending.NOT_ENABLED: (501, "proxy_configuration_error"),
    Ending.BUG: (500, "proxy_internal_error"),
    Ending.ANSWERED: (502, "http_protocol_error"),
}
_BY_RESPONSE: Final = frozenset({Ending.FAILED, Ending.LATE, Ending.REFUSED})


class Plain:
    """`done` is called once, unless the client has left, and never from inside of a call of the
    connection's: whether that may be used for another request. An answer that breaks off ends it.
    """

    # As attributes of the class: most requests have no need of their own.
    incoming: IncomingBody | None = None  # of a long body
    fetching: Fetching | None = None
    waiting: Cancellable | None = None  # for a proxy
    stalled: asyncio.TimerHandle | None = None  # looks whether the client stands still
    keeping: Keeping | None = None  # of the session
    has_waited = False  # for a proxy, as there was none
    request_id = ""
    has_all = False  # the whole of the request is here
    is_over = False
    is_inside = False  # of a call of the connection's
    is_paused = False  # the client takes no more for now

    def __init__(
        self,
        means: Means,
        caller: Caller,
        head: Head,
        asked: Asked,
        client: asyncio.Transport,
        *,
        done: Callable[["Plain", bool], None],
    ) -> None:
        self.means = means
        self.caller = caller
        self.head = head
        self.asked = asked
        self.client = client
        self.done = done
        self.answer = Answer(head, client, spend=self._spend, introduce=self._introduce)
        self.held = bytearray()
        self.started = self.moved = time.monotonic()

    def _spend(self, size: int) -> None:
        self.means.quotas.spend(self.caller.key, size)

    # 1. The request comes, and with it perhaps a body that is as long as it likes.

    def begin(self) -> None:
        """The head is here."""
        length, expects = self.head.length, self.head.expects
        if length == 0:
            return
        self._watch()
        if length is not None and length <= HELD:
            if expects:
                self.client.write(heads.CONTINUE)
        elif length is not None or expects:
            self.is_inside = True
            self._stream()
            self.is_inside = False

    @property
    def wants_more(self) -> bool:
        """Whether there is room for more of the body. When there is again, reading goes on."""
        return self.incoming is None or self.incoming.has_room

    def body(self, chunk: bytes) -> None:
        """Some of it."""
        if self.is_over:
            return  # a client that still sends would miss the answer
        self.is_inside = True
        self.moved = time.monotonic()
        self._spend(len(chunk))
        if self.incoming is not None:
            self.incoming.add(chunk)
        else:
            self.held += chunk
            if len(self.held) > HELD:
                self._stream()
        self.is_inside = False

    def end(self) -> None:
        """That was all of it."""
        if self.is_over:
            return
        self.is_inside = self.has_all = True
        if self.incoming is not None:
            self.incoming.end()
        else:
            self._start()
        self.is_inside = False

    def break_off(self, refused: Refused) -> None:
        """What comes behind cannot be read. Of a body that is not whole yet, there is no more."""
        if self.is_over or self.has_all:
            return
        self.is_inside = True
        if self.answer.status:
            self._cut()
        else:
            self._refuse(refused)
        self.is_inside = False

    def cancel(self) -> None:
        """The client has left: nobody needs the answer."""
        if not self.is_over:
            self._end(_LEFT)

    def _stream(self) -> None:
        """It is long, or nobody knows: it goes on as it comes, what is here first."""
        incoming = self.incoming = IncomingBody(self.head.length)
        incoming.on_room = self._read_on
        if self.head.expects:
            incoming.on_read = self._ask_for_body
        if self.held:
            incoming.add(bytes(self.held))
            self.held.clear()
        self._start()

    def _ask_for_body(self) -> None:
        """The target wants the body that the client holds back: RFC 9110 10.1.1."""
        if not self.answer.status and not self.is_over:
            self.client.write(heads.CONTINUE)

    def _read_on(self) -> None:
        if not self.client.is_closing():
            self.client.resume_reading()

    # 2. Which proxies it may take, and up it goes.

    def _start(self) -> None:
        steering = self.caller.steering
        if steering.is_debug:
            self.request_id = secrets.token_hex(8)
        if not self.means.has_pool:
            self._run(NO_WISHES)
            return
        wishes = self._wishes()
        if steering.session is None and not steering.is_sticky:
            self._run(wishes)  # whoever has a proxy need not look for one
        else:
            self._keep(wishes)

    def _wishes(self) -> Wishes:
        """What its proxies shall be; those that have just failed others are left alone."""
        shunned = self.means.shunned
        shunned.look(time.monotonic())
        return Wishes(
            preferred=self.means.preferred,
            only=self.means.is_bound,
            country=self.caller.steering.country,
            widens=True,
            avoid=shunned,
        )

    @property
    def _defaults(self) -> Defaults:
        return self.means.fetcher.shared.stream_defaults

    def _target(self, wishes: Wishes) -> Target:
        [way] = self.means.pool_only
        return Target(self.asked.host, False, way.site or self.caller.steering.site, wishes)

    def _await_supply(self, wishes: Wishes, go: Callable[[Wishes], None]) -> None:
        waiting = self.means.supply.wait(self._target(wishes), go)
        if waiting is not None:
            self.waiting = waiting

    def _run(self, wishes: Wishes) -> None:
        self.waiting = None
        rules, steering = self.means.rules, self.caller.steering
        fetching = self.means.fetcher.run(
            Task(url=self.asked.url),
            self._fetched,
            trust=rules.trust_in_route,
            route=self._route,
            terms=Terms(
                receiver=self.answer,
                upload=self.incoming,
                patient=True,
                takes=AS_IT_CAME,
                delay=rules.delay if steering.is_polite else 0.0,
                plan=self._plan(),
                wishes=wishes,
                guarded=rules.trust is Trust.GUARDED,
            ),
        )
        if fetching.done is not None:
            self.fetching = fetching
            if self.is_paused:
                fetching.pause()

    @property
    def _route(self) -> Route:
        """A session has one exit, and no other way."""
        return self.means.rules.route if self.keeping is None else self.means.pool_only

    def _plan(self) -> Plan:
        base, up = _base_plan(self._defaults), read_fields(self.head)
        request = replace(
            base.request,
            url=self.asked.url,
            target=self.asked.target,
            method=up.method,
            headers=up.lines,
            body=bytes(self.held) if self.held else None,
        )
        site, retries = self.caller.steering.site, self.means.rules.retries
        plan = replace(base, request=request, site=site, retries=retries)
        return plan if self.keeping is None else self.keeping.fit(plan)

    # 2a. A session keeps its exit, and says which is the next.

    def _keep(self, wishes: Wishes) -> None:
        self.keeping = Keeping(
            self.means.sessions,
            session_of(self.caller, self.asked.authority),
            self.means.chooser,
            self._target(wishes),
            retries=self.means.rules.retries,
            deadline=self.started + _base_plan(self._defaults).timeout,
            go=self._go,
            refuse=self._lack,
        )
        self.keeping.find(wishes)

    def _go(self, wishes: Wishes) -> None:
        if wishes.preferred is not None or self.has_waited:
            self._run(wishes)
        else:
            self.has_waited = True
            self._await_supply(self._wishes(), self._find)

    def _find(self, wishes: Wishes) -> None:
        self.waiting = None
        if self.keeping is not None:
            self.keeping.find(wishes)

    def _lack(self, why: NoExit) -> None:
        self._refuse(refuse_session(why, self.keeping.attempts if self.keeping is not None else ()))

    # 3. The answer comes: as it does, to `answer`, or whole.

    def _introduce(self, fetching: Fetching, size: int | None) -> bytes:
        """Our own lines of an answer that begins."""
        witness = self.means.witness
        if witness is not None:
            if fetching.exit is not None:
                witness.went(self.asked.authority, fetching.exit, fetching.tries)
            return b""
        moves = debug = None
        earlier = 0
        if self.keeping is not None:
            moves, earlier = self.keeping.moves, len(self.keeping.attempts)
            self.keeping.confirm()
        if self.request_id:
            tries = earlier + fetching.tries
            debug = heads.build_debug(self.request_id, tries, fetching.exit, size)
        return heads.build_own_lines(fetching.exit, moves, debug)

    def _fetched(self, fetching: Fetching, result: Result) -> None:
        self.fetching = None
        if self.is_over:
            return
        self._learn(fetching)
        is_answered = fetching.ending is Ending.ANSWERED
        if self.answer.status:
            if is_answered:
                self._finish()
            else:
                logger.debug("an answer through the forward proxy is cut off: %s", result.error)
                self._cut()
        elif is_answered and fetching.response is not None:
            self.answer.write_whole(fetching, fetching.response)
            self._finish()
        elif self._lacks_proxy(fetching):
            self.has_waited = True
            self._await_supply(self._wishes(), self._run)
        else:
            error = str(result.error).removeprefix("HTTP 599: ")
            end = partial(self._give_up, fetching, error)
            if self.keeping is None or not self.keeping.lost(fetching, end, self._wishes()):
                end()

    def _lacks_proxy(self, fetching: Fetching) -> bool:
        """Whether the pool had none at all, so that it is worth waiting for the first."""
        is_empty = fetching.ending is Ending.NO_PROXY and not fetching.attempts
        return is_empty and self.means.has_pool and self.keeping is None and not self.has_waited

    def _learn(self, fetching: Fetching) -> None:
        """Which proxies have failed, for those who come next."""
        exit, shunned = fetching.exit, self.means.shunned
        if exit is None or exit.proxy is None:
            return
        for proxy in fetching.failover.tried:
            shunned.blame(proxy, time.monotonic())
        if fetching.ending is Ending.ANSWERED:
            shunned.forgive(exit.proxy)

    def _give_up(self, fetching: Fetching, error: str) -> None:
        """Say why there is no answer."""
        ending, response = fetching.ending, fetching.response
        attempts = fetching.attempts if self.keeping is None else self.keeping.attempts
        if ending in _BY_RESPONSE and response is not None and response.code:
            refused = refuse_response(response, attempts, error)
        else:
            refused = build_refused(*_ENDINGS[ending], error, attempts)
        self._refuse(refused)

    # 4. The end, however it comes.

    def _refuse(self, refused: Refused) -> None:
        if self.means.witness is not None:
            self.means.witness.refused(self.asked.authority, refused)
        self.answer.refuse(refused, closes=not (self.has_all and self.head.keeps))
        self._finish()

    def _finish(self) -> None:
        answer = self.answer
        answer.finish()
        may_go_on = self.has_all and self.head.keeps and not answer.ends_by_closing
        self._end(answer.status)
        if self.is_inside:
            asyncio.get_running_loop().call_soon(self.done, self, may_go_on)
        else:
            self.done(self, may_go_on)

    def _cut(self) -> None:
        self._end(self.answer.status)
        self.answer.cut()

    def _end(self, status: int) -> None:
        self.is_over = self.answer.is_over = True
        if self.stalled is not None:
            self.stalled.cancel()
            self.stalled = None
        if self.waiting is not None:
            self.waiting.cancel()
            self.waiting = None
        if self.keeping is not None:
            self.keeping.cancel()
            self.keeping = None
        if self.fetching is not None:
            self.fetching.cancel()
            self.fetching = None
        if self.incoming is not None:
            self.incoming.drop()
        # They know us too, and a circle costs 20 us to collect.
        self.answer.spend, self.answer.introduce = _nothing, _no_lines
        if logger.isEnabledFor(logging.DEBUG):
            self._log(status)

    def _log(self, status: int) -> None:
        """Method, origin and path: what else there is may be a secret."""
        url = self.asked.url.partition("?")[0]
        took = 1000 * (time.monotonic() - self.started)
        method = self.head.method.decode("ascii", "replace")
        logger.debug("%s %s %d %.1f ms %s", method, url, status, took, self.request_id)

    # 5. The client's pace; one who stands still is cut off.

    def client_paused(self) -> None:
        """He takes no more for now."""
        self.is_paused = True
        self.moved = time.monotonic()
        self._watch()
        if self.fetching is not None:
            self.fetching.pause()

    def client_resumed(self) -> None:
        """He takes more."""
        self.is_paused = False
        if self.fetching is not None:
            self.fetching.resume()

    def _watch(self) -> None:
        seconds = self.means.rules.idle
        if self.stalled is None and seconds and not self.is_over:
            left = max(self.moved + seconds - time.monotonic(), 0.0)
            self.stalled = asyncio.get_running_loop().call_later(left, self._look)

    def _look(self) -> None:
        self.stalled = None
        now, seconds = time.monotonic(), self.means.rules.idle
        if not self.is_paused and (self.has_all or not self.wants_more):
            self.moved = now  # it is not his turn
        elif now - self.moved >= seconds:
            if self.answer.status:
                logger.debug("a client of the forward proxy takes nothing for %g s", seconds)
                self._cut()
            else:
                self._refuse(
                    build_refused(
                        408, "http_request_error", f"no more of the body came within {seconds:g} s"
                    )
                )
            return
        if self.is_paused or not self.has_all:
            self._watch()


def _nothing(size: int) -> None:
    """It is over."""


def _no_lines(fetching: Fetching, size: int | None) -> bytes:
    return b""


@lru_cache(maxsize=16)
def _base_plan(defaults: Defaults) -> Plan:
    """What all requests have in common."""
    plan = build_plan(Task(url=_ANY, fetch=Fetch(allow_redirects=False)), defaults)
    return replace(plan, request=replace(plan.request, takes=AS_IT_CAME))
