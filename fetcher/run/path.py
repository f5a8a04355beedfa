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

from msgspec import UNSET
from msgspec.structs import replace

from fetcher.client.coding import undo_beginning
from fetcher.client.sinks import WholeBody
from fetcher.errors import ANSWERED, Code, TaskError
from fetcher.guard import next_trust, refusal
from fetcher.head import field, fields_dict
from fetcher.model import (
    AS_IT_CAME,
    DIRECT,
    GUARDED,
    Attempt,
    Cancellable,
    Client,
    Egress,
    Exit,
    Fetch,
    Request,
    Response,
    Result,
    Task,
    Transfer,
    Trust,
)
from fetcher.rendering import Rendered
from fetcher.robots.keeper import Visitor
from fetcher.robots.rules import user_agent_of
from fetcher.route.failover import Another, End, Failover
from fetcher.route.route import Route, parse_route
from fetcher.run.held import DROP, Held
from fetcher.run.polite import Polite, build_polite
from fetcher.run.rendering import HELD, NotEnabled, Rendering, find_rendering, tell_of_plain
from fetcher.run.shared import Shared
from fetcher.run.terms import NO_TERMS, Terms
from fetcher.task import result as results
from fetcher.task.cookies import TaskCookies
from fetcher.task.data_url import is_data_url, parse_data_url
from fetcher.task.redirect import next_request
from fetcher.task.render import wants_more
from fetcher.task.request import NO_LIMIT, Plan, plan_options, refuse_operators_options
from fetcher.task.schemes import build_special, special_route, special_scheme
from fetcher.urls import fit_url, loggable, origin_of

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
_ENDED_WELL = Ending.ANSWERED  # a member costs 0.1 us to find
_FAILED = Ending.FAILED


class Fetching:
    """One task under way: its hops, its attempts, its cookies, its one deadline.

    With a receiver in its `terms` the answer goes on as it comes; the deadline then is for its
    head, and the whole may take the longest time that any task may, if they are patient.
    """

    # With these an attribute is read at once; one that is the class's default costs 0.05 us a time.
    __slots__ = (
        "begun",
        "clients",
        "cookies",
        "deadline",
        "done",
        "ending",
        "exit",
        "failover",
        "first",
        "hops",
        "plan",
        "polite",
        "received",
        "rendering",
        "request",
        "response",
        "route",
        "shared",
        "shown_url",
        "started",
        "task",
        "terms",
        "timer",
        "transfer",
        "tries",
        "trust",
        "trying_since",
        "waiter",
    )

    plan: Plan  # from the first step on, as are first, deadline, failover and request
    first: Request  # what the task itself asks for; `request` is that of its last hop
    deadline: float
    failover: Failover
    request: Request
    trying_since: float

    def __init__(
        self,
        shared: Shared,
        task: Task,
        done: Callable[["Fetching", Result], None],
        trust: Trust,
        route: Route,
        terms: Terms = NO_TERMS,
    ) -> None:
        self.shared = shared
        self.task = task
        self.done: Callable[[Fetching, Result], None] | None = done
        self.trust = trust
        self.route = route
        self.terms = terms
        self.clients: Mapping[Trust, Client] = shared.web
        self.started = monotonic()
        self.ending = _FAILED
        self.hops = 0
        self.tries = 0  # exits taken; redirects do not count
        self.cookies: TaskCookies | None = None
        self.exit: Exit | None = None
        self.response: Response | None = None  # the last that came
        self.transfer: Transfer | None = None
        self.waiter: Cancellable | None = None  # for a robots.txt, or for the clock's start
        self.timer: asyncio.Handle | None = None
        self.shown_url: str | None = None
        self.rendering: Rendering | None = None  # if it asks for a renderer
        self.polite: Polite | None = None  # if there is to be a delay
        self.begun: Result | None = None  # what the receiver has been told, without content
        self.received = 0  # bytes that have gone on to it since

    # 1. The task becomes a plan: its first request, its limits, its route.

    def begin(self) -> None:
        self.shared.in_flight += 1
        try:
            self._prepare()
        except TaskError as error:
            self._end(results.from_refusal(self.task, str(error), self._so_far()), Ending.BAD_TASK)
        except NotEnabled as lack:
            result = results.not_enabled(self.task, lack.name, lack.reason, self._so_far())
            self._end(result, Ending.NOT_ENABLED)
        except Exception as error:  # noqa: BLE001 - logged with its traceback
            self._end_by_exception(error)

    def _prepare(self) -> None:
        task, policy, terms = self.task, self.shared.policy, self.terms
        special = None
        if task.url[:4] != "http":  # nearly all begin so
            special = special_scheme(task.url, policy.schemes, self.trust)
            if special == "data":
                inline = parse_data_url(task.url)
                self._end(results.from_data_url(task, inline, self._so_far()), Ending.ANSWERED)
                return
        fetch = task.fetch or _NO_OPTIONS
        if fetch.fetch_type:
            self._prepare_rendering(fetch, special)
        if self.trust is GUARDED:
            refuse_operators_options(fetch)
        if special is None:
            is_whole = terms.receiver is None or self._is_rendered
            defaults = policy.defaults if is_whole else self.shared.stream_defaults
            if terms.plan is None or self._is_rendered:
                plan = plan_options(task, defaults)
                request = replace(plan.request, url=fit_url(task.url, defaults.schemes))
            else:
                plan, request = terms.plan, terms.plan.request
                if request.url is not task.url:  # else it is for this very URL, which is fit
                    request = replace(request, url=fit_url(task.url, defaults.schemes))
            route = self.route if fetch.proxy is UNSET else parse_route(fetch.proxy, self.route)
        else:
            plan = build_special(task, special, policy.defaults, policy.s3)
            request = plan.request
            route = special_route(special, parse_route(fetch.proxy, self.route))
            clients = self._find_clients(plan.kind)
            if clients is None:
                raise TaskError(f"this fetcher was built without a client for {plan.kind}://")
            self.clients = clients
        if terms is not NO_TERMS:
            request = self._add_terms(request)
        self.plan, self.first = plan, request
        self.shown_url = plan.shown_url
        self.deadline = self.started + plan.timeout
        self.failover = self.shared.failover_of(route, plan, self.trust, terms.wishes)
        if terms.guarded:
            self.trust = GUARDED
        delay = terms.delay if plan.delay is None else plan.delay
        if delay and special is None:
            # A caller waits as long as he would for the answer, others as long as any task may.
            most = policy.defaults.max_timeout or NO_LIMIT
            patience = plan.timeout if terms.receiver is not None else most
            self.polite = build_polite(self.shared, delay, patience, terms.line)
        if plan.cookies is not None:
            self.cookies = TaskCookies(plan.cookies, request.url)
        self._hop(request)

    def _prepare_rendering(self, fetch: Fetch, special: str | None) -> None:
        """Of a task that says how it is to be fetched. Raises `NotEnabled` and `TaskError`."""
        rendering = self.rendering = find_rendering(self.shared, fetch, self.trust)
        if rendering is None:
            return
        if rendering.is_on and special is not None:
            raise TaskError(f"fetch_type {fetch.fetch_type}: there is no page behind {special}://")
        if rendering.is_on and self.terms.upload is not None:
            raise TaskError("a page is asked for with a short body only: at most 65536 bytes")
        if rendering.is_on and rendering.clients is not None:
            self.clients = rendering.clients

    def _add_terms(self, request: Request) -> Request:
        terms = self.terms
        takes = terms.takes if self.rendering is None else ""  # it is read here
        if terms.upload is not None:
            request = replace(request, body=terms.upload)
        return request if takes == request.takes else replace(request, takes=takes)

    @property
    def _is_rendered(self) -> bool:
        """Whether the next answer is what a renderer makes of the page, whole."""
        return self.rendering is not None and self.rendering.is_on

    def _find_clients(self, kind: str) -> Mapping[Trust, Client] | None:
        """The clients for what is no plain http, None when there is none for such a task."""
        clients = self.shared.clients.get(kind)
        return clients if clients is not None and self.trust in clients else None

    # 2. A hop: one request of the redirect chain, if robots.txt allows it.

    def _hop(self, request: Request) -> None:
        if self.cookies is not None:
            cookie = self.cookies.header(request.url, time.time())
            if cookie is not None:
                request = replace(request, cookie=cookie)
        self.request = request
        if self.plan.robots_txt:
            self._ask_robots()
        elif self.polite is not None:
            self._line_up()
        else:
            self._leave()

    def _ask_robots(self) -> None:
        keeper, request, since = self.shared.robots, self.request, monotonic()
        visitor = self._visitor()
        allowed = keeper.verdict(request.url, visitor)
        if allowed is not None:
            self._told(allowed, since)
            return
        if self.polite is not None:
            self.polite.expect()
        self.waiter = keeper.ask(request.url, visitor, lambda verdict: self._told(verdict, since))
        left = self.deadline - since if self.polite is None else self.polite.left
        self.timer = asyncio.get_running_loop().call_later(max(left, 0.0), self._end_late)

    def _visitor(self) -> Visitor:
        return Visitor(
            user_agent=user_agent_of(self.request.headers),
            route=self.failover.route,
            trust=self.trust,
            validate_cert=self.request.validate_cert,
            delay=self.polite.delay if self.polite is not None else None,
        )

    def _told(self, allowed: bool, since: float) -> None:
        self._stop_waiting()
        if self.polite is not None:
            self._put_off(monotonic() - since)  # the file had to wait for its own start
        try:
            if allowed:
                self._line_up()
            else:
                self._end_disallowed()
        except Exception as error:  # noqa: BLE001 - logged with its traceback
            self._end_by_exception(error)

    # 2a. Its start: when the politeness clock says, if there is to be a delay.

    def _line_up(self) -> None:
        if self.polite is None:
            self._leave()
            return
        crawl_delay, since = None, monotonic()
        if self.plan.robots_txt:
            visitor = self._visitor()
            rules = self.shared.robots.known(self.request.url, visitor)
            crawl_delay = rules.crawl_delay(visitor.user_agent) if rules is not None else None
        self.waiter = self.polite
        self.polite.line_up(
            self.request.url,
            lambda refusal: self._may_leave(refusal, since),
            is_direct=self.failover.is_direct,
            crawl_delay=crawl_delay,
        )

    def _may_leave(self, refusal: str | None, since: float) -> None:
        self._stop_waiting()
        self._put_off(monotonic() - since)
        try:
            if refusal is None:
                self._leave()
            else:
                self._end_without(refusal, Ending.LATE)
        except Exception as error:  # noqa: BLE001 - logged with its traceback
            self._end_by_exception(error)

    def _put_off(self, waited: float) -> None:
        """The task's time begins later, by what it has waited for politeness alone."""
        self.started += waited
        self.deadline += waited
        if self.polite is not None:
            self.polite.left -= waited

    # 3. An attempt: one way to leave, and a transfer through it.

    def _leave(self) -> None:
        exit, self.exit = self.exit, None
        if self.rendering is not None and self.rendering.finds_exits:
            if exit is not None and exit.from_pool:
                self._prefer(exit)
            self._attempt(DIRECT)
            return
        way = self.failover.leave(exit, self.request.url)
        if isinstance(way, End):
            self._end_by_failover(way)
        else:
            self._attempt(way)

    def _attempt(self, exit: Exit) -> None:
        self.exit = exit
        self.tries = len(self.failover.attempts) + 1
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
        self.trying_since = now
        request = self.request
        limits = self.failover.limits(exit, request, left)
        terms = self.terms
        if terms.upload is not None and terms.patient:
            # Its time begins when all of it has been sent.
            limits = replace(limits, total=self._longest, first_byte=limits.first_byte or left)
        takes = request.takes
        if takes and takes != AS_IT_CAME and self.failover.find_hold(exit, request.url):
            request = replace(request, takes="")  # a site's rules are to read it
        is_whole = terms.receiver is None
        if self.rendering is not None and self.rendering.is_on:
            request, is_whole = self.rendering.ask(request, self._egress()), True
        sink = WholeBody(self.answered) if is_whole else Held(self)
        self.transfer = self.clients[self.trust].start(request, exit, limits, sink)

    def _prefer(self, exit: Exit) -> None:
        """What comes next is to leave through the same proxy, whose use has ended."""
        wishes = self.terms.wishes
        if wishes.preferred is None:
            self.terms = replace(self.terms, wishes=replace(wishes, preferred=exit.proxy))
        self.failover.release(exit)

    def _egress(self) -> Egress:
        return Egress(
            route=self.failover.route,
            trust=self.trust,
            site=self.plan.site,
            wishes=self.terms.wishes,
            retries=self.plan.retries,
            retry_unsafe=self.plan.retry_unsafe,
            deadline=self.deadline,
            attempt_timeout=self.shared.policy.ways.attempt_timeout,
        )

    @property
    def _longest(self) -> float:
        """Seconds that a transfer may take whose head has come in time."""
        most = self.shared.policy.defaults.max_timeout or NO_LIMIT
        return max(self.started + most - self.trying_since, 0.001)

    # 4. The transfer has ended: another proxy, another place, or the result.

    def answered(self, response: Response) -> None:
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
        if exit.proxy is not None and not self._is_kept(exit, response):
            return
        self.response = response
        if response.outcome is not ANSWERED:
            self._end(results.from_failure(self.task, response, self._so_far()), _ending(response))
            return
        headers = self._learn(response)
        if 300 < response.status < 309:
            following = self._next_request(response)
            if following is not None:
                self._follow(following, response)
                return
        if response.rendered is not None:
            self._count_exits(response.rendered)
        result = results.from_response(self.task, response, headers, self._so_far())
        rendering = self.rendering
        if rendering is not None:
            if rendering.is_on:
                self._take_rendered(rendering, response, result)
            elif rendering.takes(self.request, response, self.trust):
                self._consider(rendering, response, result)
                return
        self._end(result, _ENDED_WELL)

    def _count_exits(self, rendered: Rendered) -> None:
        """Those that a page has tried beside the one that was its own attempt."""
        is_first = self.rendering is None or self.rendering.plain is None
        self.tries += rendered.attempts - is_first

    def _learn(self, response: Response) -> dict[str, str]:
        """The answer's headers; what cookies are among them is kept."""
        headers = fields_dict(response.head)
        if self.polite is not None:
            self.polite.learn(response.status, headers.get("Retry-After"))
        if "Set-Cookie" in headers:
            if self.cookies is None:
                self.cookies = TaskCookies(None, self.first.url)
            self.cookies.learn(response.url, response.head, time.time())
        return headers

    def _next_request(self, response: Response) -> Request | None:
        """Where an answer leads, None if it is the end. Raises `TaskError`."""
        if not self.plan.follow or not 300 < response.status < 309 or self._is_rendered:
            return None
        location = field(response.head, b"location")
        return next_request(
            self.request, response.status, location, self.shared.policy.defaults.schemes
        )

    def _is_kept(self, exit: Exit, response: Response) -> bool:
        """Whether what came through a proxy is the task's own; else it goes on, or has ended."""
        now = monotonic()
        took, left = now - self.trying_since, self.deadline - now
        seen = response
        if self.request.takes == AS_IT_CAME and response.body and exit.from_pool:
            seen = replace(response, body=undo_beginning(response.head, response.body))
        step = self.failover.decide(exit, self.request, seen, took=took, left=left)
        if isinstance(step, Another):
            self._try_another(step.exit)
        elif isinstance(step, End):
            self.response = response
            self._end_by_failover(step)
        else:
            return True
        return False

    def _try_another(self, exit: Exit) -> None:
        if self.polite is None:
            self._attempt(exit)
        else:  # it is chosen anew when the turn has come, and meanwhile of use to others
            self.failover.release(exit)
            self.exit = None
            self._line_up()

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
            allow_private=self.shared.policy.allow_private,
        )
        self._hop(following)

    # 4a. A page that is rendered only where that changes what it says: the plain answer is here.

    def _consider(self, rendering: Rendering, response: Response, result: Result) -> None:
        need = rendering.consider(response, result)
        asking = self.shared.memory.ask(self.request.url, need, self._render)
        if asking is not None:
            self.waiter = asking
            left = self.deadline - monotonic()
            self.timer = asyncio.get_running_loop().call_later(max(left, 0.0), self._end_late)

    def _render(self, is_wanted: bool) -> None:
        self._stop_waiting()
        rendering = self.rendering
        assert rendering is not None and rendering.plain is not None
        try:
            if rendering.clients is None or not (is_wanted or wants_more(rendering.render)):
                self._end(rendering.plain, _ENDED_WELL)
                return
            rendering.is_on = True
            self.clients = rendering.clients
            self._line_up()
        except Exception as error:  # noqa: BLE001 - logged with its traceback
            self._end_by_exception(error)

    def _take_rendered(self, rendering: Rendering, response: Response, result: Result) -> None:
        """The renderer's answer becomes the result, unless the plain one is better; what it has
        changed is remembered."""
        if rendering.plain is not None:
            if response.status >= 400:
                return
            changed = rendering.compare(response)
            if changed is not None:
                self.shared.memory.learn(self.request.url, changed=changed)
        results.add_rendering(result, response.rendered, rendering.render)

    def _plain_instead(self, rendering: Rendering, result: Result) -> Result:
        """What there is without a rendering that failed, if that is something."""
        plain, response = rendering.plain, rendering.response
        if plain is None or response is None:
            return result
        if rendering.is_on:
            self.shared.memory.fail(self.request.url)
            if self.response is not None:
                tell_of_plain(self.shared, self.response)
        self.response, self.clients = response, self.shared.web
        plain.time = monotonic() - self.started
        return plain

    # 4b. The same for an answer that goes on as it comes: see `Held`.

    def look(self, response: Response) -> int:
        try:
            if self._next_request(response) is not None:
                return DROP
        except TaskError:
            return DROP  # and is raised again when the answer is decided about
        exit, hold = self.exit, 0
        if self.rendering is not None and self.rendering.takes(self.request, response, self.trust):
            hold = HELD
        if exit is None or exit.proxy is None:
            return hold
        return max(hold, self.failover.find_hold(exit, self.request.url))

    def open(self, response: Response) -> bool:
        transfer, exit = self.transfer, self.exit
        try:
            if exit is not None and exit.proxy is not None and not self._is_kept(exit, response):
                return self._stop(transfer)
            self.response = response
            whole = replace(response, body=b"") if response.body else response
            headers = self._learn(response)
            self.begun = results.from_response(self.task, whole, headers, self._so_far())
            if self.rendering is not None:
                results.add_rendering(self.begun, None, self.rendering.render)
            if self.terms.patient and transfer is not None:
                transfer.extend(self._longest)
            if self.terms.receiver is not None:
                self.terms.receiver.begin(self, self.begun)
        except Exception as error:  # noqa: BLE001 - logged with its traceback
            self._end_by_exception(error)
            return self._stop(transfer)
        return self.done is not None

    def _stop(self, transfer: Transfer | None) -> bool:
        if transfer is not None:
            transfer.cancel()
        return False

    def pass_on(self, chunk: bytes) -> None:
        self.received += len(chunk)
        if self.terms.receiver is not None:
            self.terms.receiver.chunk(chunk)

    def cut(self, response: Response) -> None:
        self._stop(self.transfer)
        self.answered(response)

    def ended(self, response: Response) -> None:
        self.transfer = None
        if response.outcome is ANSWERED and self.begun is not None:
            self.begun.time = monotonic() - self.started
            self._end(self.begun, _ENDED_WELL)
        else:
            failed = results.from_failure(self.task, response, self._so_far())
            self._end(failed, _ending(response))

    def pause(self) -> None:
        """The receiver has had enough for now; harmless when all has come."""
        if self.transfer is not None:
            self.transfer.pause()

    def resume(self) -> None:
        if self.transfer is not None:
            self.transfer.resume()

    # 5. The end, in one place.

    @property
    def attempts(self) -> Sequence[Attempt]:
        """The attempts that failed by their proxies; the last response's own may be the last."""
        failover = getattr(self, "failover", None)
        return failover.attempts if failover is not None else ()

    def cancel(self) -> None:
        """Nobody waits any more: stop without a result."""
        if self.done is not None:
            self.done = None
            self._leave_shared()
        if self.transfer is not None:
            self.transfer.cancel()
            self.transfer = None
        if self.waiter is not None:
            self.waiter.cancel()
        self._stop_waiting()

    def _leave_shared(self) -> None:
        """Give back what was taken for the task: its place among all, and the use of its exit."""
        shared, exit = self.shared, self.exit
        shared.in_flight -= 1
        shared.ended += 1
        if self.polite is not None:
            self.polite.cancel()
        if exit is not None and exit.from_pool:
            self.failover.release(exit)

    def _stop_waiting(self) -> None:
        self.waiter = None
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def _end(self, result: Result, ending: Ending) -> None:
        if self.rendering is not None and result.rendered is UNSET:
            result = self._plain_instead(self.rendering, result)
            ending = _ENDED_WELL if result is self.rendering.plain else ending
            results.add_rendering(result, None, self.rendering.render)
        self.ending = ending
        done, shared = self.done, self.shared
        if done is not None:
            self.done = None
            self._leave_shared()
            now = self.started + result.time
            shared.stats.record_result(self.task, result, now, self.received)
            # What it spent beside its only transfer, it waited: for its turn, robots.txt, a handle.
            waited = result.time - result.timing.total if self.tries == 1 and not self.hops else 0.0
            if ending is _ENDED_WELL and self.clients is shared.web and self.exit is not None:
                shared.meters.fetched(result, waited, self.received)
            else:
                shared.meters.ended(ending.value, self._kind, result, waited, self.received)
            done(self, result)
            self.terms = NO_TERMS  # its receiver knows us too, and a circle costs 20 us to collect

    @property
    def _kind(self) -> str:
        """Who carries it out, as `Shared.clients` calls them."""
        if self.task.url[:4] != "http" and is_data_url(self.task.url):
            return "data"
        for kind, clients in self.shared.clients.items():
            if clients is self.clients:
                return kind
        return "none"  # pragma: no cover: they are always some of these

    def _end_by_failover(self, end: End) -> None:
        if end.no_way:
            self._end_without(end.reason, Ending.NO_PROXY)
        else:
            self._end_without(end.reason, Ending.FAILED)

    def _end_without(self, reason: str, ending: Ending) -> None:
        """There is no response, or none that the task asked for; `reason` says why."""
        progress, url = self._so_far(), self.request.url
        result = results.from_refusal(self.task, f"HTTP 599: {reason}", progress, url=url)
        self._end(result, ending)

    def _end_disallowed(self) -> None:
        error = "HTTP 403: Disallowed by robots.txt"
        result = results.from_refusal(
            self.task, error, self._so_far(), url=self.request.url, status=results.FORBIDDEN
        )
        self._end(result, Ending.REFUSED)

    def _end_late(self) -> None:
        if self.waiter is not None:
            self.waiter.cancel()  # others may go on waiting for the same robots.txt
        self._stop_waiting()
        waited = int((monotonic() - self.started) * 1000)
        self._end_without(f"Operation timed out after {waited} milliseconds", Ending.LATE)

    def _end_by_exception(self, error: Exception) -> None:
        self.shared.errors += 1
        logger.exception("a step of %s failed", loggable(self.task.url))
        text = "".join(traceback.format_exception(error))
        words = f"{type(error).__name__}: {error}"
        result = results.from_refusal(self.task, words, self._so_far(), traceback=text)
        self._end(result, Ending.BUG)

    def _so_far(self) -> results.Progress:
        exit = self.exit
        return results.Progress(
            seconds=monotonic() - self.started,
            cookies=self.cookies.public() if self.cookies is not None else {},
            proxy=exit.proxy.url if exit is not None and exit.proxy is not None else None,
            attempts=self.tries,
            url=self.shown_url,
        )


def run_robots(
    shared: Shared, task: Task, done: Callable[[Result], None], trust: Trust, route: Route
) -> Fetching:
    """Fetch a robots.txt as any other task."""
    fetching = Fetching(shared, task, lambda _, result: done(result), trust, route)
    fetching.begin()
    return fetching


def _ending(response: Response) -> Ending:
    """How a transfer without a complete answer is called."""
    if response.code == Code.OPERATION_TIMEDOUT:
        return Ending.LATE
    if response.code == Code.ABORTED_BY_CALLBACK:
        return Ending.REFUSED
    return Ending.FAILED
