"""Fetching: the one path of a task, from its first request to its result.

A driver: it reads the clock, starts transfers, and asks the decision modules what to do next. It
can be read from top to bottom; its methods stand in the order in which they happen.
"""

import asyncio
import enum
import logging
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import TYPE_CHECKING

from msgspec.structs import replace

from fetcher.errors import ANSWERED, Code, TaskError
from fetcher.guard import next_trust, refusal
from fetcher.head import field, fields_dict
from fetcher.model import (
    GUARDED,
    Attempt,
    Client,
    Exit,
    Fetch,
    Limits,
    Request,
    Response,
    Result,
    Task,
    Transfer,
    Trust,
    Verdict,
)
from fetcher.proxy import Proxy
from fetcher.robots.keeper import Visitor
from fetcher.robots.rules import user_agent_of
from fetcher.route.exits import Exits
from fetcher.route.retry import (
    first_byte_limit,
    is_certificate_failure,
    is_repeatable,
    may_repeat,
    proxy_failed,
)
from fetcher.route.route import Route, parse_route
from fetcher.task import result as results
from fetcher.task.cookies import TaskCookies
from fetcher.task.data_url import parse_data_url
from fetcher.task.redirect import next_request
from fetcher.task.request import Plan, build_plan, refuse_operators_options
from fetcher.task.schemes import build_special, special_route, special_scheme
from fetcher.urls import loggable, origin_of

if TYPE_CHECKING:
    from fetcher.run.fetcher import Fetcher

logger = logging.getLogger(__name__)


class Ending(enum.Enum):
    """What a task came to, for those who answer in other terms than a result's status."""

    ANSWERED = "answered"  # a response, whatever its status; or a data: URL
    BAD_TASK = "bad task"  # it cannot be run as it is written
    REFUSED = "refused"  # a rule of ours forbids it
    NO_PROXY = "no proxy"  # its route leads nowhere
    LATE = "late"  # no time left
    FAILED = "failed"  # no response came
    NOT_ENABLED = "not enabled"  # it needs a renderer that is not there
    BUG = "bug"  # an exception of ours


_NO_OPTIONS = Fetch()
_ENDED_WELL = Ending.ANSWERED


class Fetching:
    """One task under way: its hops, its attempts, its cookies, its one deadline."""

    # What most tasks never change, as attributes of the class: an instance costs 0.4 us less.
    ending = Ending.FAILED
    hops = 0
    tries = 0  # exits taken; redirects do not count
    certificate_failures = 0
    cookies: TaskCookies | None = None
    exit: Exit | None = None
    response: Response | None = None  # the last that came
    transfer: Transfer | None = None  # or who waits for a robots.txt
    timer: asyncio.Handle | None = None

    def __init__(
        self,
        fetcher: "Fetcher",
        task: Task,
        done: Callable[["Fetching", Result], None],
        trust: Trust,
        route: Route,
    ) -> None:
        self.fetcher = fetcher
        self.task = task
        self.done: Callable[[Fetching, Result], None] | None = done
        self.trust = trust
        self.route = route
        self.clients: Mapping[Trust, Client] = fetcher.clients
        self.started = monotonic()

    # 1. The task becomes a plan: its first request, its limits, its route.

    def begin(self) -> None:
        self.fetcher.in_flight += 1
        try:
            self._prepare()
        except TaskError as error:
            self._end(results.from_refusal(self.task, str(error), self._account()), Ending.BAD_TASK)
        except Exception as error:  # noqa: BLE001 - logged with its traceback
            self._end_by_exception(error)

    def _prepare(self) -> None:
        task, fetcher = self.task, self.fetcher
        special = None
        if task.url[:4] != "http":  # nearly all begin so
            special = special_scheme(task.url, fetcher.schemes, self.trust)
            if special == "data":
                inline = parse_data_url(task.url)
                self._end(results.from_data_url(task, inline, self._account()), Ending.ANSWERED)
                return
        fetch = task.fetch or _NO_OPTIONS
        if fetch.fetch_type and (renderer := results.RENDERERS.get(fetch.fetch_type)):
            self._end(results.not_enabled(task, renderer, self._account()), Ending.NOT_ENABLED)
            return
        if self.trust is GUARDED:
            refuse_operators_options(fetch)
        if special is None:
            self.plan: Plan = build_plan(task, fetcher.defaults)
            route = parse_route(fetch.proxy, self.route)
        else:
            route = self._prepare_special(special, fetch)
        self.deadline: float = self.started + self.plan.timeout
        self.exits: Exits = fetcher.exits_of(route, self.plan, self.trust)
        if self.plan.cookies is not None:
            self.cookies = TaskCookies(self.plan.cookies, self.plan.request.url)
        self._hop(self.plan.request)

    def _prepare_special(self, scheme: str, fetch: Fetch) -> Route:
        """file, ftp and s3 go the same path, but for who answers and what the result is told."""
        task, fetcher = self.task, self.fetcher
        self.plan = build_special(task, scheme, fetcher.defaults, fetcher.s3)
        if scheme == "s3":
            if self.done is not None:
                self.done = _showing(task.url, self.done)
        elif (client := fetcher.others.get(scheme)) is not None:
            self.clients = {Trust.OPEN: client}
        else:
            raise TaskError(f"this fetcher was built without a client for {scheme}://")
        return special_route(scheme, parse_route(fetch.proxy, self.route))

    # 2. A hop: one request of the redirect chain, if robots.txt allows it.

    def _hop(self, request: Request) -> None:
        if self.cookies is not None:
            cookie = self.cookies.header(request.url, time.time())
            if cookie is not None:
                request = replace(request, cookie=cookie)
        self.request: Request = request
        if self.plan.robots_txt:
            self._ask_robots()
        else:
            self._leave()

    def _ask_robots(self) -> None:
        keeper, request = self.fetcher.robots, self.request
        visitor = Visitor(
            user_agent=user_agent_of(request.headers),
            route=self.exits.route,
            trust=self.trust,
            validate_cert=request.validate_cert,
        )
        allowed = keeper.verdict(request.url, visitor)
        if allowed is not None:
            self._told(allowed)
            return
        self.transfer = keeper.ask(request.url, visitor, self._told)
        left = max(self.deadline - monotonic(), 0.0)
        self.timer = asyncio.get_running_loop().call_later(left, self._end_late)

    def _told(self, allowed: bool) -> None:
        self._stop_waiting()
        try:
            if allowed:
                self._leave()
            else:
                self._end_disallowed()
        except Exception as error:  # noqa: BLE001 - logged with its traceback
            self._end_by_exception(error)

    def _leave(self) -> None:
        request = self.request
        if self.exits.may_stay(self.exit, request.url):
            self._start()
        else:
            self._attempt()

    # 3. An attempt: one way to leave, and a transfer through it.

    def _attempt(self) -> None:
        self.exit = self.exits.next(self.request.url)
        if self.exit is None:
            self._no_exit()
        else:
            self.tries = len(self.exits.attempts) + 1
            self._start()

    def _no_exit(self) -> None:
        reason = self.exits.empty or "no way left to try"
        if self.exits.attempts:
            reason = f"{self.exits.attempts[-1].error} (then: {reason})"
        self._end_without(reason, Ending.NO_PROXY)

    def _start(self) -> None:
        exit = self.exit
        assert exit is not None
        now = monotonic()
        left = self.deadline - now
        if left <= 0:
            self._end_late()
            return
        if exit.proxy is not None and self.trust is GUARDED:
            reason = refusal(origin_of(self.request.url)[1])
            if reason is not None:
                self._end_without(f"{reason}: refused", Ending.REFUSED)
                return
        connect = self.request.connect_timeout
        if self.exits.fails_over and exit.proxy is not None:
            connect = min(connect, self.fetcher.attempt_connect)
        limits = Limits(
            total=left,
            connect=connect,
            first_byte=first_byte_limit(
                self.fetcher.attempt_timeout,
                left,
                last=self.exits.is_last(exit, self.request.url),
            ),
            fresh=not is_repeatable(self.request, retry_unsafe=self.plan.retry_unsafe),
        )
        self.trying_since: float = now
        client = self.clients[self.trust]
        self.transfer = client.start(self.request, exit, limits, self._answered)

    # 4. The transfer has ended: another proxy, another place, or the result.

    def _answered(self, response: Response) -> None:
        self.transfer = None
        try:
            self._decide(response)
        except TaskError as error:
            self._end_without(str(error), Ending.FAILED)
        except Exception as error:  # noqa: BLE001 - logged with its traceback
            self._end_by_exception(error)

    def _decide(self, response: Response) -> None:
        exit = self.exit
        assert exit is not None
        if exit.proxy is not None and self._try_another(exit, exit.proxy, response):
            self._attempt()
            return
        self.response = response
        if response.outcome is not ANSWERED:
            self._end(results.from_failure(self.task, response, self._account()), _ending(response))
            return
        if self.exits.fails_over and exit.proxy is not None and proxy_failed(response):
            # The answer is the proxy's own; nobody who asked for any proxy wants to read it.
            self._end_without(f"HTTP {response.status} from the last proxy tried", Ending.FAILED)
            return
        headers = fields_dict(response.head)
        if "Set-Cookie" in headers:
            if self.cookies is None:
                self.cookies = TaskCookies(None, self.plan.request.url)
            self.cookies.learn(self.request.url, response.head, time.time())
        if self.plan.follow and 300 < response.status < 309:
            location = field(response.head, b"location")
            schemes = self.fetcher.defaults.schemes
            following = next_request(self.request, response.status, location, schemes)
            if following is not None:
                self._follow(following, response)
                return
        self._end(results.from_response(self.task, response, headers, self._account()), _ENDED_WELL)

    def _try_another(self, exit: Exit, proxy: Proxy, response: Response) -> bool:
        """Tell the pool what its proxy did, and whether the task goes on through another."""
        exits, url = self.exits, self.request.url
        failed = proxy_failed(response)
        had = self.deadline - self.trying_since
        if response.code == Code.OPERATION_TIMEDOUT and had < self.fetcher.attempt_connect:
            response.unproven = True  # others get more time than that only to be reached
        if exit.from_pool and exits.chooser is not None:
            verdict = exits.chooser.report(proxy, exits.target(url), response)
            failed = failed or verdict is Verdict.BANNED
        if not failed or not exits.fails_over:
            return False
        now = monotonic()
        exits.spend(proxy, response.message or f"HTTP {response.status}", now - self.trying_since)
        if is_certificate_failure(response):
            self.certificate_failures += 1
            if self.certificate_failures > 1:
                return False  # through two proxies the same: it is the origin's
        if now >= self.deadline:
            return False
        if not may_repeat(self.request, response, retry_unsafe=self.plan.retry_unsafe):
            return False
        return exits.is_another_left(url)

    def _follow(self, following: Request, response: Response) -> None:
        self.hops += 1
        if self.hops > self.plan.max_redirects:
            limit = self.plan.max_redirects
            self._end_without(f"Maximum ({limit}) redirects followed", Ending.FAILED)
            return
        self.trust = next_trust(
            self.trust,
            came_from=self.request.url,
            address=response.address if self.exit and self.exit.proxy is None else None,
            allow_private=self.fetcher.allow_private,
        )
        self._hop(following)

    # 5. The end, in one place.

    @property
    def attempts(self) -> Sequence[Attempt]:
        """The attempts that failed by their proxies; the last response's own may be the last."""
        exits = getattr(self, "exits", None)
        return exits.attempts if exits is not None else ()

    def cancel(self) -> None:
        """Nobody waits any more: stop without a result."""
        if self.done is not None:
            self.done = None
            self.fetcher.in_flight -= 1
        if self.transfer is not None:
            self.transfer.cancel()
        self._stop_waiting()

    def _stop_waiting(self) -> None:
        self.transfer = None
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def _end(self, result: Result, ending: Ending) -> None:
        self.ending = ending
        done, self.done = self.done, None
        if done is not None:
            self.fetcher.in_flight -= 1
            self.fetcher.count(self.task, result)
            done(self, result)

    def _end_without(self, reason: str, ending: Ending) -> None:
        """There is no response, or none that the task asked for; `reason` says why."""
        account, url = self._account(), self.request.url
        result = results.from_refusal(self.task, f"HTTP 599: {reason}", account, url=url)
        self._end(result, ending)

    def _end_disallowed(self) -> None:
        error = "HTTP 403: Disallowed by robots.txt"
        result = results.from_refusal(
            self.task, error, self._account(), url=self.request.url, status=results.FORBIDDEN
        )
        self._end(result, Ending.REFUSED)

    def _end_late(self) -> None:
        if self.transfer is not None:
            self.transfer.cancel()  # others may go on waiting for the same robots.txt
        self._stop_waiting()
        waited = int((monotonic() - self.started) * 1000)
        self._end_without(f"Operation timed out after {waited} milliseconds", Ending.LATE)

    def _end_by_exception(self, error: Exception) -> None:
        self.fetcher.errors += 1
        logger.exception("a step of %s failed", loggable(self.task.url))
        text = "".join(traceback.format_exception(error))
        words = f"{type(error).__name__}: {error}"
        result = results.from_refusal(self.task, words, self._account(), traceback=text)
        self._end(result, Ending.BUG)

    def _account(self) -> results.Account:
        exit = self.exit
        return results.Account(
            seconds=monotonic() - self.started,
            cookies=self.cookies.public() if self.cookies is not None else {},
            proxy=exit.proxy.url if exit is not None and exit.proxy is not None else None,
            attempts=self.tries,
        )


def _showing(
    url: str, done: Callable[[Fetching, Result], None]
) -> Callable[[Fetching, Result], None]:
    """`done`, but that results name `url` instead of the one that was asked."""

    def show(fetching: Fetching, result: Result) -> None:
        result.url = url
        done(fetching, result)

    return show


def _ending(response: Response) -> Ending:
    """How a transfer without a complete answer is called."""
    if response.code == Code.OPERATION_TIMEDOUT:
        return Ending.LATE
    if response.code == Code.ABORTED_BY_CALLBACK:
        return Ending.REFUSED
    return Ending.FAILED
