from collections.abc import Sequence

import pytest

from fetcher.errors import Code, Outcome
from fetcher.model import (
    NO_WISHES,
    Attempt,
    Exit,
    Request,
    Response,
    Target,
    Trust,
    Verdict,
    Wishes,
)
from fetcher.proxy import Proxy, parse_proxy
from fetcher.route.failover import (
    IDEMPOTENT,
    KEEP,
    MOST_UNCHECKED,
    Another,
    End,
    Failover,
    WaysOut,
    is_certificate_failure,
    is_proxys_failure,
    may_repeat,
)
from fetcher.route.route import Environment, Unreadable, parse_route
from tests.fetcher.client.producer import Producer

URL, HTTPS = "http://site.test/", "https://site.test/"
A, B, C = (parse_proxy(f"{name}:1") for name in "abc")
OWN = parse_proxy("own:1")
ENV = Environment(http=OWN, https=OWN, no_proxy=("exempt.test",))
GET, POST = Request(url=URL), Request(url=URL, method="POST", body=b"x")


class Few:
    """A pool of few: the first that was not tried, and for https the tunnelling ones only."""

    def __init__(
        self,
        *proxies: Proxy,
        tunnelling: Sequence[Proxy] | None = None,
        banned: bool = False,
        unchecked: bool = False,
    ) -> None:
        self.proxies = proxies
        self.unchecked = unchecked
        self.tunnelling = proxies if tunnelling is None else tunnelling
        self.banned = banned
        self.targets: list[Target] = []
        self.lent: list[Proxy] = []
        self.reports: list[tuple[Proxy, Target, bool]] = []

    def pick(self, target: Target, tried: Sequence[Proxy]) -> Exit | None:
        self.targets.append(target)
        proxy = self._find(target, tried)
        if proxy is None:
            return None
        self.lent.append(proxy)
        return Exit(proxy=proxy, trusted=False, from_pool=True, unchecked=self.unchecked)

    def release(self, proxy: Proxy) -> None:
        self.lent.remove(proxy)

    def has_other(self, target: Target, tried: Sequence[Proxy]) -> bool:
        return self._find(target, tried) is not None

    def _find(self, target: Target, tried: Sequence[Proxy]) -> Proxy | None:
        candidates = self.tunnelling if target.tunnelled else self.proxies
        return next((proxy for proxy in candidates if proxy not in tried), None)

    def expects(self, target: Target) -> bool:
        return False

    def find_hold(self, target: Target) -> int:
        return 100 if self.banned else 0

    def report(self, proxy: Proxy, target: Target, response: Response) -> Verdict:
        self.reports.append((proxy, target, response.unproven))
        return Verdict.BANNED if self.banned else Verdict.GOOD

    def describe(self, target: Target) -> str:
        return f"0 alive of {len(self.proxies)}"


def failover(
    route: object,
    retries: int = 3,
    chooser: Few | None = None,
    *,
    trust: Trust = Trust.OPEN,
    site: str | None = None,
    environment: Environment | None = None,
    retry_unsafe: bool = False,
    wishes: Wishes = NO_WISHES,
) -> Failover:
    ways = WaysOut(environment=environment or Environment(), chooser=chooser)
    return Failover(
        parse_route(route, ()),
        ways,
        retries,
        trust=trust,
        site=site,
        retry_unsafe=retry_unsafe,
        wishes=wishes,
    )


def ended(
    outcome: Outcome = Outcome.PATH,
    *,
    status: int = 0,
    head: bytes = b"",
    sent: bool = True,
    stranger: bool = False,
    code: int = 0,
    message: str = "",
) -> Response:
    return Response(
        url=URL, outcome=outcome, status=status, head=head, sent=sent, stranger=stranger,
        code=code, message=message,
    )  # fmt: skip


def dead() -> Response:
    return ended(Outcome.PROXY, sent=False, code=Code.COULDNT_CONNECT, message="it failed")


def leave(ways: Failover, url: str = URL) -> Exit:
    exit = ways.leave(None, url)
    assert isinstance(exit, Exit)
    return exit


def name(exit: Exit) -> str | None:
    return exit.proxy.host if exit.proxy is not None else None


def order(ways: Failover, url: str = URL) -> list[str | None]:
    """The hosts that a task tries when every proxy fails; None is direct."""
    step = ways.leave(None, url)
    out: list[str | None] = []
    while isinstance(step, Exit):
        out.append(name(step))
        assert len(out) < 20
        following = ways.decide(step, GET, dead(), took=0.1, left=9.0)
        if isinstance(following, Another):
            step = following.exit
            continue
        ways.release(step)
        if not isinstance(following, End):
            return out
        step = following
    assert isinstance(step, End) and step.no_way
    return [*out, "nowhere"]


# -- which way, and which after it -----------------------------------------------------------------

ORDERS: list[tuple[object, int, Few | None, list[str | None]]] = [
    ("direct", 3, None, [None]),
    ("a:1", 3, None, ["a"]),
    ("env", 3, None, ["own"]),
    (["a:1", "b:1"], 3, None, ["a", "b"]),
    (["a:1", "b:1"], 0, None, ["a"]),
    (["a:1", "b:1", "c:1"], 1, None, ["a", "b"]),
    (["a:1", "direct"], 1, None, ["a", None]),
    (["env", "direct"], 3, None, ["own", None]),
    (["env", "a:1"], 3, None, ["own", "a"]),
    (["a:1", "env"], 3, None, ["a", "own"]),
    (["a:1", "a:1", "b:1"], 3, None, ["a", "b"]),
    (["env", "env"], 3, None, ["own", "nowhere"]),
    ("pool", 3, Few(A, B), ["a", "b"]),
    ("pool", 1, Few(A, B, C), ["a", "b"]),
    ("pool", 0, Few(A, B, C), ["a"]),
    ("pool", 3, Few(), ["nowhere"]),
    ("pool", 3, None, ["nowhere"]),
    (["pool", "direct"], 3, Few(), [None]),
    (["pool", "direct"], 0, Few(), [None]),
    (["pool", "direct"], 3, Few(A, B), ["a", "b", None]),
    (["pool", "direct"], 1, Few(A, B, C), ["a", None]),
    (["pool", "own:1", "direct"], 3, Few(A, B, C), ["a", "b", "own", None]),
    (["a:1", "pool"], 3, Few(A, B), ["a", "b"]),
    (["a:1", "pool"], 3, Few(), ["a", "nowhere"]),
]


@pytest.mark.parametrize(("route", "retries", "chooser", "expected"), ORDERS)
def test_ways_are_taken_in_order_each_proxy_once_within_the_budget(
    route: object, retries: int, chooser: Few | None, expected: list[str | None]
) -> None:
    assert order(failover(route, retries, chooser, environment=ENV)) == expected
    assert chooser is None or chooser.lent == []


@pytest.mark.parametrize(
    ("route", "chooser", "fails_over"),
    [
        ("direct", None, False),
        ("env", None, False),
        ("a:1", None, False),
        ("pool", Few(A), True),
        (["a:1", "direct"], None, True),
    ],
)
def test_only_a_list_or_a_pool_fails_over(
    route: object, chooser: Few | None, fails_over: bool
) -> None:
    assert failover(route, 3, chooser).fails_over == fails_over
    assert not failover(route, 0, chooser).fails_over


@pytest.mark.parametrize(
    ("route", "environment", "is_direct"),
    [
        ("direct", ENV, True),
        ("env", Environment(), True),
        ("env", ENV, False),
        ("pool", None, False),
        ("own:1", None, False),
        (["direct", "pool"], None, False),
        (["direct", "direct"], None, False),
    ],
)
def test_all_that_leave_by_the_one_direct_way_may_share_it(
    route: object, environment: Environment | None, is_direct: bool
) -> None:
    ways = failover(route, environment=environment)
    assert ways.is_direct == is_direct
    if is_direct:
        before = dict(vars(ways))
        for url in (URL, HTTPS, URL):
            assert ways.leave(None, url) == ways.leave(Exit(), url) == Exit()
            assert ways.decide(Exit(), GET, dead(), took=1.0, left=1.0) == KEEP
            ways.release(Exit())
        assert vars(ways) == before


def test_the_environment_is_asked_for_each_url() -> None:
    ways = failover("env", environment=ENV)
    exit = leave(ways)
    assert exit == Exit(proxy=OWN)
    assert ways.leave(exit, "http://exempt.test/") == Exit()


def test_a_variable_that_names_no_proxy_leads_nowhere() -> None:
    environment = Environment(http=OWN, https=Unreadable("all_proxy: what is that?"))
    ways = failover("env", environment=environment)
    exit = leave(ways)
    assert exit == Exit(proxy=OWN)
    assert ways.leave(exit, HTTPS) == End("all_proxy: what is that?", no_way=True)
    assert failover(["env", "direct"], environment=environment).leave(None, HTTPS) == Exit()


@pytest.mark.parametrize(("trust", "trusted"), [(Trust.OPEN, True), (Trust.GUARDED, False)])
def test_a_proxy_named_by_a_guarded_task_is_not_trusted(trust: Trust, trusted: bool) -> None:
    expected = Exit(proxy=A, trusted=trusted, judged=not trusted)
    assert leave(failover("a:1", trust=trust)) == expected


def test_what_others_ask_for_is_judged_before_it_goes_to_a_proxy_of_ours() -> None:
    guarded = failover("env", environment=ENV, trust=Trust.GUARDED)
    assert leave(guarded) == Exit(proxy=OWN, judged=True)
    assert leave(failover("direct", trust=Trust.GUARDED)) == Exit()
    chooser = Few(A)
    assert leave(failover("pool", 3, chooser, trust=Trust.GUARDED)).judged


def test_a_hop_leaves_as_the_last_one_did_unless_another_proxy_may_be_needed() -> None:
    chooser = Few(A, tunnelling=[B])
    ways = failover("pool", 3, chooser)
    exit = leave(ways)
    assert ways.leave(exit, URL) is exit and chooser.lent == [A]
    tunnel = ways.leave(exit, HTTPS)
    assert isinstance(tunnel, Exit) and tunnel.proxy == B
    assert chooser.lent == [B]
    single = failover("a:1")
    exit = leave(single)
    assert single.leave(exit, HTTPS) is exit


def test_a_pool_that_cannot_tunnel_is_empty_for_https_only() -> None:
    chooser = Few(A, tunnelling=())
    leave(failover("pool", 3, chooser))
    ways = failover("pool", 3, chooser)
    assert ways.leave(None, HTTPS) == End("no proxy in the pool (0 alive of 1)", no_way=True)


def test_an_empty_pool_and_none_at_all_are_told_apart() -> None:
    none, empty = failover("pool", 3, None), failover("pool", 3, Few())
    assert none.leave(None, URL) == End(
        "this fetcher knows no pool: Fetcher.with_pool(redis=...) makes one that does", no_way=True
    )
    assert empty.leave(None, URL) == End("no proxy in the pool (0 alive of 0)", no_way=True)


@pytest.mark.parametrize("route", ["pool", "a:1", ["a:1", "b:1"]])
def test_no_route_leads_back_to_ourselves(route: object) -> None:
    pool = Few(A, B)
    ways = WaysOut(chooser=pool, is_own=lambda proxy: proxy == A)
    way = Failover(parse_route(route, ()), ways, 3, trust=Trust.OPEN).leave(None, URL)
    if route == "a:1":
        assert isinstance(way, End) and way.no_way
        assert "this service itself" in way.reason
    else:
        assert isinstance(way, Exit) and way.proxy == B
    assert A not in pool.lent


def test_a_route_that_leads_nowhere_says_what_the_last_attempt_came_to() -> None:
    ways = failover(["a:1", "pool"], 3, Few())
    step = ways.decide(leave(ways), GET, dead(), took=0.1, left=9.0)
    assert step == End("it failed (then: no proxy in the pool (0 alive of 0))", no_way=True)
    ways = failover(["env", "env"], 3, environment=ENV)
    step = ways.decide(leave(ways), GET, dead(), took=0.1, left=9.0)
    assert step == End("it failed (then: no way left to try)", no_way=True)


def test_the_pool_hears_what_the_proxy_is_wanted_for() -> None:
    chooser = Few(A, B)
    failover("pool:shop", 3, chooser, site="other").leave(None, HTTPS)
    failover("pool", 3, chooser, site="other").leave(None, "http://Site.test:81/x")
    failover("pool", 3, chooser).leave(None, URL)
    wishes = Wishes(preferred=B, country="DE")
    failover("pool", 3, chooser, wishes=wishes).leave(None, URL)
    assert chooser.targets == [
        Target("site.test", True, "shop"),
        Target("site.test", False, "other"),
        Target("site.test", False, None),
        Target("site.test", False, None, wishes),
    ]


def test_each_attempt_is_made_with_the_same_wishes() -> None:
    chooser, wishes = Few(A, B), Wishes(unchecked=True)
    assert order(failover("pool", 3, chooser, wishes=wishes)) == ["a", "b"]
    assert [target.wishes for target in chooser.targets] == [wishes] * len(chooser.targets)
    assert [target.wishes for _, target, _ in chooser.reports] == [wishes] * 2


@pytest.mark.parametrize("unchecked", [MOST_UNCHECKED - 1, MOST_UNCHECKED, MOST_UNCHECKED + 1])
@pytest.mark.parametrize("retries", [1, 3])
def test_attempts_through_unchecked_proxies_use_up_nothing_but_for_so_many(
    unchecked: int, retries: int
) -> None:
    """First those that nobody has checked, then as many checked ones as may be."""
    proxies = [parse_proxy(f"p{number}:1") for number in range(100)]
    chooser = Few(*proxies)
    ways = failover("pool", retries, chooser)
    chooser.unchecked = True
    step = ways.leave(None, URL)
    attempts = 0
    while isinstance(step, Exit):
        attempts += 1
        chooser.unchecked = attempts < unchecked
        following = ways.decide(step, GET, dead(), took=0.1, left=9.0)
        if not isinstance(following, Another):
            ways.release(step)
            break
        step = following.exit
    assert attempts == retries + 1 + min(unchecked, MOST_UNCHECKED)
    assert chooser.lent == []


def test_without_retries_an_unchecked_proxy_is_the_only_one_too() -> None:
    assert order(failover("pool", 0, Few(A, B, unchecked=True))) == ["a"]


# -- what an attempt may take ----------------------------------------------------------------------

LASTS: list[tuple[object, int, Few | None, list[bool]]] = [
    # of each attempt in turn: whether it is the last
    ("direct", 3, None, [True]),
    ("a:1", 3, None, [True]),
    (["a:1", "b:1"], 3, None, [False, True]),
    (["a:1", "direct"], 3, None, [False, True]),
    (["a:1", "b:1", "c:1"], 1, None, [False, True]),
    ("pool", 3, Few(A), [True]),
    ("pool", 3, Few(A, B), [False, True]),
    ("pool", 1, Few(A, B, C), [False, True]),
    (["pool", "direct"], 3, Few(A), [False, True]),
    (["pool", "direct"], 3, Few(), [True]),
    (["a:1", "pool"], 3, None, [False]),
    ("env", 3, None, [True]),
    (["env", "direct"], 3, None, [False, True]),
]


@pytest.mark.parametrize(("route", "retries", "chooser", "expected"), LASTS)
def test_every_attempt_but_the_last_must_answer_in_time(
    route: object, retries: int, chooser: Few | None, expected: list[bool]
) -> None:
    ways = failover(route, retries, chooser, environment=ENV)
    exit, seen = leave(ways), []
    while True:
        seen.append(ways.limits(exit, GET, 100.0).first_byte == 0.0)
        assert chooser is None or len(chooser.lent) <= 1
        step = ways.decide(exit, GET, dead(), took=0.1, left=9.0)
        if not isinstance(step, Another):
            break
        exit = step.exit
    assert seen == expected


def test_the_only_proxy_of_a_session_is_to_answer_in_time_if_another_follows() -> None:
    for followed, first_byte in ((True, 15.0), (False, 0.0)):
        wishes = Wishes(preferred=A, only=True, followed=followed)
        ways = failover("pool", 1, Few(A), wishes=wishes)
        exit = ways.leave(None, GET.url)
        assert isinstance(exit, Exit)
        assert ways.limits(exit, GET, 100.0).first_byte == first_byte


@pytest.mark.parametrize(
    ("left", "first_byte", "connect"),
    [(100.0, 15.0, 5.0), (15.0, 15.0, 5.0), (14.0, 14.0, 5.0), (3.0, 3.0, 5.0)],
)
def test_an_attempt_has_its_own_limits_within_the_tasks(
    left: float, first_byte: float, connect: float
) -> None:
    ways = failover("pool", 3, Few(A, B))
    limits = ways.limits(leave(ways), GET, left)
    assert (limits.total, limits.first_byte, limits.connect) == (left, first_byte, connect)
    quick = Request(url=URL, connect_timeout=2.0)
    assert ways.limits(Exit(proxy=A), quick, left).connect == 2.0
    alone = failover("a:1")
    limits = alone.limits(leave(alone), GET, left)
    assert (limits.total, limits.first_byte, limits.connect) == (left, 0.0, 20.0)


@pytest.mark.parametrize("method", [*sorted(IDEMPOTENT), "POST", "PATCH", "PURGE", "get"])
def test_what_may_not_be_repeated_goes_on_a_fresh_connection(method: str) -> None:
    request = Request(url=URL, method=method)
    assert failover("direct").limits(Exit(), request, 9.0).fresh is (method not in IDEMPOTENT)
    assert not failover("direct", retry_unsafe=True).limits(Exit(), request, 9.0).fresh


# -- what becomes of an attempt --------------------------------------------------------------------


def test_an_attempt_that_failed_is_told_without_credentials() -> None:
    ways = failover(["u:secret@a:1", "direct"])
    exit = leave(ways)
    step = ways.decide(exit, GET, ended(message="refused"), took=0.12345, left=9.0)
    assert step == Another(Exit())
    assert ways.attempts == [Attempt("http://a:1", "refused", 0.123)]
    assert ways.tried == [exit.proxy]


def test_a_good_answer_is_kept_and_its_use_goes_on() -> None:
    chooser = Few(A, B)
    ways = failover("pool", 3, chooser)
    exit = leave(ways)
    answer = ended(Outcome.ANSWERED, status=200, head=b"HTTP/1.1 200 OK\r\n\r\n")
    assert ways.decide(exit, GET, answer, took=1.0, left=9.0) == KEEP
    assert (chooser.lent, ways.attempts) == ([A], ())
    ways.release(exit)
    assert chooser.lent == []


@pytest.mark.parametrize(
    ("statuses", "unchecked", "kept"),
    [
        ([503], False, 0),
        ([200], True, 0),
        ([399], True, 0),
        ([400, 400], True, 1),
        ([404, 404], True, 1),
        ([404, 410, 404], True, 2),
        ([503, 200], True, 1),
        ([503, 503, 503, 503], True, 3),
        ([503, 502, 504, 404], True, 3),
    ],
)
def test_an_error_from_a_proxy_that_nobody_has_checked_counts_when_two_say_so(
    statuses: list[int], unchecked: bool, kept: int
) -> None:
    pool = Few(*(parse_proxy(f"p{number}:1") for number in range(4)), unchecked=unchecked)
    way = failover("pool", 1, pool)
    exit = way.leave(None, URL)
    for number, status in enumerate(statuses):
        assert isinstance(exit, Exit)
        step = way.decide(exit, GET, ended(Outcome.ANSWERED, status=status), took=1, left=9)
        if number == kept:
            assert step is KEEP
            break
        assert isinstance(step, Another)
        exit = step.exit


def test_what_may_not_be_repeated_keeps_the_error_of_an_unchecked_proxy() -> None:
    way = failover("pool", 3, Few(A, B, unchecked=True))
    exit = way.leave(None, URL)
    assert isinstance(exit, Exit)
    assert way.decide(exit, POST, ended(Outcome.ANSWERED, status=503), took=1, left=9) is KEEP


def test_another_is_lent_before_the_one_that_failed_is_given_back() -> None:
    chooser = Few(A, B)
    ways = failover("pool", 3, chooser)
    step = ways.decide(leave(ways), GET, dead(), took=1.0, left=9.0)
    assert isinstance(step, Another) and step.exit.proxy == B
    assert chooser.lent == [B]
    assert len(chooser.targets) == 2  # one pick an attempt


@pytest.mark.parametrize(("method", "another"), [("GET", True), ("POST", False)])
def test_a_ban_takes_another_proxy_if_the_request_may_be_repeated(
    method: str, another: bool
) -> None:
    ways = failover("pool", 3, Few(A, B, banned=True))
    answer = ended(Outcome.ANSWERED, status=200, head=b"HTTP/1.1 200 OK\r\n\r\n")
    step = ways.decide(leave(ways), Request(url=URL, method=method), answer, took=1.0, left=9.0)
    assert isinstance(step, Another) is another
    assert another or step == KEEP
    assert ways.attempts[0].error == "HTTP 200"


def test_without_another_proxy_even_a_ban_is_the_tasks_own_answer() -> None:
    for retries, chooser in [(3, Few(A, banned=True)), (0, Few(A, B, banned=True))]:
        ways = failover("pool", retries, chooser)
        answer = ended(Outcome.ANSWERED, status=403, head=b"HTTP/1.1 403 No\r\n\r\n")
        assert ways.decide(leave(ways), GET, answer, took=1.0, left=9.0) == KEEP


def test_the_answer_of_a_proxy_itself_is_nobodys_page() -> None:
    stranger = ended(Outcome.ANSWERED, status=407, head=b"HTTP/1.1 407 Who\r\n\r\n", stranger=True)
    ways = failover("pool", 3, Few(A))
    step = ways.decide(leave(ways), GET, stranger, took=1.0, left=9.0)
    assert step == End("HTTP 407 from the last proxy tried")
    alone = failover("a:1")  # whoever names one proxy wants to hear what it says
    assert alone.decide(leave(alone), GET, stranger, took=1.0, left=9.0) == KEEP


@pytest.mark.parametrize(("left", "another"), [(0.001, True), (0.0, False), (-1.0, False)])
def test_without_time_there_is_no_other_attempt(left: float, another: bool) -> None:
    ways = failover("pool", 3, Few(A, B))
    step = ways.decide(leave(ways), GET, dead(), took=1.0, left=left)
    assert isinstance(step, Another) is another


def test_a_certificate_that_fails_through_two_proxies_is_the_origins() -> None:
    ways = failover("pool", 3, Few(A, B, C))
    bad = ended(Outcome.PATH, code=Code.PEER_FAILED_VERIFICATION, message="self-signed")
    step = ways.decide(leave(ways), GET, bad, took=1.0, left=9.0)
    assert isinstance(step, Another)
    assert ways.decide(step.exit, GET, bad, took=1.0, left=9.0) == KEEP


@pytest.mark.parametrize(
    ("code", "took", "left", "unproven"),
    [
        (Code.OPERATION_TIMEDOUT, 4.0, 0.9, True),
        (Code.OPERATION_TIMEDOUT, 4.0, 1.0, False),
        (Code.OPERATION_TIMEDOUT, 5.1, -0.2, True),
        (Code.COULDNT_CONNECT, 0.1, 0.1, False),
    ],
)
def test_who_had_less_time_than_others_get_to_be_reached_is_not_blamed(
    code: int, took: float, left: float, unproven: bool
) -> None:
    chooser = Few(A)
    ways = failover("pool", 3, chooser)
    ways.decide(leave(ways), GET, ended(code=code, message="late"), took=took, left=left)
    assert chooser.reports == [(A, Target("site.test", False, None), unproven)]


def test_only_proxies_of_the_pool_are_reported_to_it() -> None:
    chooser = Few(A)
    ways = failover(["own:1", "pool"], 3, chooser)
    step = ways.decide(leave(ways), GET, dead(), took=1.0, left=9.0)
    assert chooser.reports == []
    assert isinstance(step, Another)
    ways.decide(step.exit, GET, dead(), took=1.0, left=9.0)
    assert [proxy for proxy, _, _ in chooser.reports] == [A]


def test_an_exit_of_another_pool_asks_nobody() -> None:
    ways = failover("a:1")
    foreign = Exit(proxy=B, from_pool=True)
    assert ways.decide(foreign, GET, dead(), took=1.0, left=9.0) == KEEP
    ways.release(foreign)
    assert ways.attempts == ()


def test_only_a_pools_answers_are_held_and_only_where_a_rule_looks_into_them() -> None:
    for chooser, expected in [(Few(A), 0), (Few(A, banned=True), 100)]:
        ways = failover(["pool", "b:1"], 3, chooser)
        assert ways.find_hold(leave(ways), URL) == expected
        assert ways.find_hold(Exit(proxy=B), URL) == 0
    assert failover("direct").find_hold(Exit(), URL) == 0


# -- the one rule of what may be repeated ----------------------------------------------------------

UNSAFE = ["POST", "PATCH", "CONNECT", "PURGE", "get"]
HEAD = b"HTTP/1.1 200 OK\r\n"


def ask(method: str) -> Request:
    return Request(url="http://h/", method=method)


@pytest.mark.parametrize("method", [*sorted(IDEMPOTENT), *UNSAFE])
@pytest.mark.parametrize("retry_unsafe", [True, False])
@pytest.mark.parametrize("outcome", list(Outcome))
def test_whatever_has_not_left_may_be_repeated(
    method: str, retry_unsafe: bool, outcome: Outcome
) -> None:
    assert may_repeat(ask(method), ended(outcome, sent=False), retry_unsafe=retry_unsafe)


@pytest.mark.parametrize(
    ("method", "retry_unsafe", "expected"),
    [
        *((method, False, True) for method in sorted(IDEMPOTENT)),
        *((method, True, True) for method in sorted(IDEMPOTENT)),
        *((method, False, False) for method in UNSAFE),
        *((method, True, True) for method in UNSAFE),
    ],
)
def test_what_has_left_is_repeated_if_that_changes_nothing_or_the_task_says_so(
    method: str, retry_unsafe: bool, expected: bool
) -> None:
    assert may_repeat(ask(method), ended(), retry_unsafe=retry_unsafe) is expected
    whole = ended(Outcome.ANSWERED, status=503, head=HEAD)
    assert may_repeat(ask(method), whole, retry_unsafe=retry_unsafe) is expected


@pytest.mark.parametrize("method", UNSAFE)
def test_a_407_is_the_proxys_so_the_target_has_seen_nothing(method: str) -> None:
    refused = ended(Outcome.ANSWERED, status=407, head=HEAD, stranger=True)
    assert may_repeat(ask(method), refused, retry_unsafe=False)
    targets_own = ended(Outcome.ANSWERED, status=407, head=HEAD)
    assert not may_repeat(ask(method), targets_own, retry_unsafe=False)


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("outcome", sorted(set(Outcome) - {Outcome.ANSWERED}, key=str))
def test_after_the_first_byte_of_a_broken_answer_nothing_is_repeated(
    method: str, outcome: Outcome
) -> None:
    assert not may_repeat(ask(method), ended(outcome, head=b"H"), retry_unsafe=True)


@pytest.mark.parametrize(
    ("outcome", "status", "expected"),
    [
        (Outcome.ANSWERED, 200, False),
        (Outcome.ANSWERED, 403, False),
        (Outcome.ANSWERED, 406, False),
        (Outcome.ANSWERED, 407, False),
        (Outcome.ANSWERED, 408, False),
        (Outcome.ANSWERED, 502, False),
        (Outcome.PROXY, 0, True),
        (Outcome.PATH, 0, True),
        (Outcome.PATH, 200, True),
        (Outcome.TARGET, 0, False),
        (Outcome.OURS, 407, False),
    ],
)
def test_another_proxy_is_taken_when_the_proxy_failed(
    outcome: Outcome, status: int, expected: bool
) -> None:
    assert is_proxys_failure(ended(outcome, status=status)) is expected
    assert is_proxys_failure(ended(Outcome.ANSWERED, status=status, stranger=True))


@pytest.mark.parametrize("code", list(Code))
def test_only_a_failed_verification_is_a_certificate_failure(code: Code) -> None:
    response = Response(url="https://h/", outcome=Outcome.PATH, code=code)
    assert is_certificate_failure(response) is (code.name == "PEER_FAILED_VERIFICATION")
    response.outcome = Outcome.PROXY  # the certificate of an https:// proxy itself
    assert not is_certificate_failure(response)


@pytest.mark.parametrize(
    ("sent", "stranger", "expected"),
    [(False, False, True), (True, False, False), (True, True, False)],
)
def test_a_body_that_comes_bit_by_bit_is_sent_once(
    sent: bool, stranger: bool, expected: bool
) -> None:
    request = Request(url=URL, method="PUT", body=Producer(ended=True))
    response = ended(Outcome.PROXY, sent=sent, stranger=stranger)
    assert may_repeat(request, response, retry_unsafe=True) is expected
    assert failover("direct", retry_unsafe=True).limits(Exit(), request, 9.0).fresh


# -- several attempts at once ----------------------------------------------------------------------


@pytest.mark.parametrize(("trust", "judged"), [(Trust.OPEN, False), (Trust.GUARDED, True)])
def test_a_racer_goes_through_a_further_proxy_of_the_pool(trust: Trust, judged: bool) -> None:
    pool = Few(A, B)
    ways = failover("pool", chooser=pool, trust=trust)
    first = leave(ways)
    racer = ways.race(URL, [A])
    assert racer is not None
    assert (racer.proxy, racer.judged) == (B, judged)
    assert pool.lent == [A, B]
    assert ways.race(URL, [A, B]) is None
    ways.release(first)
    ways.release(racer)
    assert pool.lent == []


def test_nothing_races_where_there_is_no_pool() -> None:
    assert failover("a:1").race(URL, [A]) is None
    assert failover("pool").race(URL, [A]) is None
    listed = failover(["a:1", "pool"], chooser=Few(B))
    assert name(leave(listed)) == "a"
    assert listed.race(URL, [A]) is None


def test_one_that_is_to_be_avoided_wins_no_race() -> None:
    pool = Few(A, B)
    ways = failover("pool", chooser=pool, wishes=Wishes(avoid={B}))
    assert ways.race(URL, [A]) is None
    assert pool.lent == []


def test_we_do_not_race_through_ourselves() -> None:
    pool = Few(A, B)
    ways = WaysOut(chooser=pool, is_own=lambda proxy: proxy == B)
    assert Failover(parse_route("pool", ()), ways, 3, trust=Trust.OPEN).race(URL, [A]) is None
    assert pool.lent == []


def test_who_has_lost_is_reported_and_given_back_and_nobody_follows() -> None:
    pool = Few(A, B, C)
    ways = failover("pool", chooser=pool)
    exit = leave(ways)
    ways.lose(exit, GET, dead(), took=0.1, left=9.0)
    assert pool.lent == []
    assert [proxy for proxy, _, _ in pool.reports] == [A]
    assert [attempt.proxy for attempt in ways.attempts] == [A.url]
    assert name(leave(ways)) == "b"


def test_a_proxy_of_no_pool_loses_unreported() -> None:
    pool = Few(B)
    ways = failover(["a:1", "pool"], chooser=pool)
    ways.lose(leave(ways), GET, dead(), took=0.1, left=9.0)
    assert pool.reports == []
    assert [attempt.proxy for attempt in ways.attempts] == [A.url]
    failover("direct").lose(Exit(), GET, dead(), took=0.1, left=9.0)


def test_what_is_kept_anyhow_may_still_be_told_to_the_pool() -> None:
    pool = Few(A, banned=True)
    ways = failover("pool", chooser=pool)
    exit = leave(ways)
    ways.note(exit, GET, ended(Outcome.ANSWERED))
    assert [proxy for proxy, _, _ in pool.reports] == [A]
    assert pool.lent == [A]
    assert ways.attempts == ()
    for other in (Exit(), Exit(proxy=B)):
        ways.note(other, GET, ended(Outcome.ANSWERED))
    assert len(pool.reports) == 1


def test_what_is_wanted_is_told_anew_for_each_url_way_and_wish() -> None:
    pool, wishes = Few(A), Wishes(country="DE")
    ways = failover(["pool:one", "pool:two"], chooser=pool)
    exit = leave(ways)
    ways.leave(exit, HTTPS)  # another URL
    ways.want(wishes)
    ways.leave(exit, HTTPS)
    ways.decide(exit, Request(url=HTTPS), dead(), took=0.1, left=9.0)  # by the other way
    assert [(one.tunnelled, one.site, one.wishes) for one in pool.targets] == [
        (False, "one", NO_WISHES),
        (True, "one", NO_WISHES),
        (True, "one", wishes),
        (True, "one", wishes),
        (True, "two", wishes),
    ]


def test_a_session_may_try_its_exit_again() -> None:
    pool = Few(A, B)
    ways = failover("pool", chooser=pool)
    ways.lose(leave(ways), GET, dead(), took=0.1, left=9.0)
    ways.move(Wishes(preferred=A, only=True))
    assert name(leave(ways)) == "a"
    assert pool.targets[-1].wishes == Wishes(preferred=A, only=True)


def test_an_attempt_may_take_so_long_to_stand() -> None:
    ways = failover("pool", chooser=Few(A, B))
    patient = Request(url=URL, connect_timeout=20.0)
    assert ways.limit_connect(leave(ways), patient) == 5.0
    assert ways.limit_connect(leave(ways), Request(url=URL, connect_timeout=2.0)) == 2.0
    assert failover("a:1").limit_connect(Exit(proxy=A), patient) == 20.0
    assert failover("direct").limit_connect(Exit(), patient) == 20.0
