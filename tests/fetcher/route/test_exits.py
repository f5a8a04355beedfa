from collections.abc import Sequence

import pytest

from fetcher.model import Attempt, Exit, ProxyChooser, Response, Target, Trust, Verdict
from fetcher.proxy import Proxy, parse_proxy
from fetcher.route.exits import Exits
from fetcher.route.route import Environment, parse_route

URL, HTTPS = "http://site.test/", "https://site.test/"
A, B, C = (parse_proxy(f"{name}:1") for name in "abc")
OWN = parse_proxy("own:1")


class Few:
    """A pool of few: the first that was not tried, and for https the tunnelling ones only."""

    def __init__(self, *proxies: Proxy, tunnelling: Sequence[Proxy] | None = None) -> None:
        self.proxies = proxies
        self.tunnelling = proxies if tunnelling is None else tunnelling
        self.targets: list[Target] = []

    def pick(self, target: Target, tried: Sequence[Proxy]) -> Exit | None:
        self.targets.append(target)
        for proxy in self.tunnelling if target.tunnelled else self.proxies:
            if proxy not in tried:
                return Exit(proxy=proxy, trusted=False, from_pool=True)
        return None

    def report(self, proxy: Proxy, target: Target, response: Response) -> Verdict:
        return Verdict.GOOD

    def describe(self, target: Target) -> str:
        return f"0 alive of {len(self.proxies)}"


def exits(
    route: object,
    retries: int = 3,
    chooser: ProxyChooser | None = None,
    *,
    trust: Trust = Trust.OPEN,
    site: str | None = None,
    environment: Environment | None = None,
) -> Exits:
    return Exits(
        parse_route(route, ()),
        retries,
        environment=environment or Environment(),
        chooser=chooser,
        trust=trust,
        site=site,
    )


def order(ways: Exits, url: str = URL) -> list[str | None]:
    """The hosts that a task tries when every proxy fails; None is direct."""
    out: list[str | None] = []
    while True:
        exit = ways.next(url)
        if exit is None:
            return [*out, "nowhere"]
        if exit.proxy is None:
            return [*out, None]
        out.append(exit.proxy.host)
        assert len(out) < 20
        ways.spend(exit.proxy, "it failed", 0.1)
        if not ways.is_another_left(url):
            return out


ENV = Environment(http=OWN, https=OWN, no_proxy=("exempt.test",))

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
    (["a:1", "a:1", "b:1"], 3, None, ["a", "b"]),
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
    route, retries, chooser, expected
):
    assert order(exits(route, retries, chooser, environment=ENV)) == expected


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
def test_only_a_list_or_a_pool_fails_over(route, chooser, fails_over):
    assert exits(route, 3, chooser).fails_over == fails_over
    assert not exits(route, 0, chooser).fails_over


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
    ("env", 3, None, [True]),
    (["env", "direct"], 3, None, [False, True]),
]


@pytest.mark.parametrize(
    ("route", "environment", "are_direct"),
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
def test_all_that_leave_by_the_one_direct_way_may_share_their_exits(route, environment, are_direct):
    ways = exits(route, environment=environment)
    assert ways.are_direct == are_direct
    if are_direct:
        for url in (URL, HTTPS, URL):
            assert ways.next(url) == Exit()
            assert ways.is_last(Exit(), url) and not ways.fails_over
        assert (ways.way, ways.attempts, ways.tried) == (0, (), ())


@pytest.mark.parametrize(("route", "retries", "chooser", "expected"), LASTS)
def test_an_attempt_is_the_last_when_nothing_could_follow_it(route, retries, chooser, expected):
    ways = exits(route, retries, chooser, environment=ENV)
    seen: list[bool] = []
    while len(seen) < len(expected):
        exit = ways.next(URL)
        assert exit is not None
        seen.append(ways.is_last(exit, URL))
        if exit.proxy is not None:
            ways.spend(exit.proxy, "it failed", 0.1)
    assert seen == expected


def test_the_environment_is_asked_for_each_url():
    ways = exits("env", environment=ENV)
    assert ways.next(URL) == Exit(proxy=OWN)
    assert ways.next("http://exempt.test/") == Exit()


@pytest.mark.parametrize(("trust", "trusted"), [(Trust.OPEN, True), (Trust.GUARDED, False)])
def test_a_proxy_named_by_a_guarded_task_is_not_trusted(trust, trusted):
    assert exits("a:1", trust=trust).next(URL) == Exit(proxy=A, trusted=trusted, judged=not trusted)


def test_what_others_ask_for_is_judged_before_it_goes_to_a_proxy_of_ours():
    assert exits("env", environment=ENV, trust=Trust.GUARDED).next(URL) == Exit(
        proxy=OWN, judged=True
    )
    assert exits("direct", trust=Trust.GUARDED).next(URL) == Exit()


def test_a_hop_may_leave_as_the_last_one_did_unless_another_proxy_may_be_needed():
    direct, pool = exits("direct"), exits("pool", 3, Few(A))
    env = exits("env", environment=ENV)
    assert not direct.may_stay(None, URL)
    assert direct.may_stay(direct.next(URL), HTTPS)
    assert pool.may_stay(pool.next(URL), URL)
    assert not pool.may_stay(pool.next(URL), HTTPS)
    assert not env.may_stay(env.next(URL), URL)


def test_a_pool_that_cannot_tunnel_is_empty_for_https_only():
    chooser = Few(A, tunnelling=())
    assert exits("pool", 3, chooser).next(URL) is not None
    ways = exits("pool", 3, chooser)
    assert ways.next(HTTPS) is None
    assert ways.empty == "no proxy in the pool (0 alive of 1)"


def test_an_empty_pool_and_none_at_all_are_told_apart():
    ways = exits("pool", 3, None)
    assert (ways.next(URL), ways.empty) == (None, "this process has no pool")
    ways = exits("pool", 3, Few())
    assert (ways.next(URL), ways.empty) == (None, "no proxy in the pool (0 alive of 0)")
    ways = exits("direct")
    assert ways.empty is None


def test_the_pool_hears_what_the_proxy_is_wanted_for():
    chooser = Few(A, B)
    exits("pool:shop", 3, chooser, site="other").next(HTTPS)
    exits("pool", 3, chooser, site="other").next("http://Site.test:81/x")
    exits("pool", 3, chooser).next(URL)
    assert chooser.targets == [
        Target("site.test", True, "shop"),
        Target("site.test", False, "other"),
        Target("site.test", False, None),
    ]
    ways = exits("pool:shop", 3, Few())
    ways.next(URL)
    assert ways.target(URL) == Target("site.test", False, "shop")  # also behind the last way


def test_a_spent_attempt_is_told_without_credentials():
    ways = exits(["u:secret@a:1", "direct"])
    exit = ways.next(URL)
    assert exit is not None and exit.proxy is not None
    ways.spend(exit.proxy, "refused", 0.12345)
    assert ways.attempts == [Attempt("http://a:1", "refused", 0.123)]
    assert ways.tried == [exit.proxy]
