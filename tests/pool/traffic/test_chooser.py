import pytest

from fetcher.errors import Outcome
from fetcher.model import Response, Target, Verdict, Wishes
from fetcher.proxy import Proxy, parse_proxy
from pool.check.rule import BODY_SEEN
from pool.settings import Ban, Site
from pool.traffic.chooser import PoolChooser
from pool.traffic.evidence import Finding, Seen
from pool.traffic.usage import CAP
from tests.pool.entries import draws, entry, numbered, snapshot

TARGET = Target("shop.example", tunnelled=False)


def picked(chooser: PoolChooser, target: Target) -> set[Proxy]:
    """What a hundred picks give, one after the other."""
    proxies = set()
    for _ in range(100):
        exit = chooser.pick(target, ())
        if exit is not None and exit.proxy is not None:
            proxies.add(exit.proxy)
            chooser.release(exit.proxy)
    return proxies


def test_the_chooser_takes_good_ones_that_were_not_tried() -> None:
    pool = snapshot(*numbered(3, 100), *numbered(9, 99, first=100))
    chooser = PoolChooser(pool, draws().random)
    tried: list[Proxy] = []
    for _ in range(3):
        exit = chooser.pick(TARGET, tried)
        assert exit is not None
        assert exit.proxy is not None
        assert exit.proxy not in tried
        assert exit.from_pool
        tried.append(exit.proxy)
    assert {proxy.member for proxy in tried} == {one.member for one in numbered(3, 100)}
    assert chooser.pick(TARGET, tried) is None


def test_a_pool_without_good_ones_says_so_and_gives_none() -> None:
    chooser = PoolChooser(snapshot(*numbered(12, 99)), draws().random)
    assert chooser.pick(TARGET, ()) is None
    assert chooser.describe(TARGET) == "0 alive of 12"


def test_a_pool_without_one_of_a_country_says_so() -> None:
    chooser = PoolChooser(snapshot(*numbered(3, 100)), draws().random)
    target = Target(host="x", tunnelled=False, wishes=Wishes(country="DE"))
    assert chooser.pick(target, ()) is None
    assert chooser.describe(target) == "3 alive of 3, none of them to be had in DE"


@pytest.mark.parametrize(
    ("own", "allow_private", "trusted"),
    [(False, False, False), (True, False, True), (False, True, True)],
)
def test_only_own_proxies_are_trusted_unless_private_ones_are_allowed(
    own: bool, allow_private: bool, trusted: bool
) -> None:
    pool = snapshot(entry("192.0.2.1:1", own=own))
    exit = PoolChooser(pool, draws().random, allow_private=allow_private).pick(TARGET, ())
    assert exit is not None
    assert exit.trusted is trusted


@pytest.mark.parametrize("outcome", list(Outcome))
def test_no_answer_is_called_a_ban_without_a_rule(outcome: Outcome) -> None:
    chooser = PoolChooser(snapshot(), draws().random)
    response = Response(url="http://shop.example/", outcome=outcome, status=403)
    assert chooser.report(parse_proxy("192.0.2.1:1"), TARGET, response) is Verdict.GOOD


# -- what pool routes take -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ([{"connect": True}, {"connect": True, "tls": True}, {}], {1, 2}),
        ([{"connect": True, "tls": False}, {"connect": False}, {}], {3}),
        ([{"own": True}, {}, {}], {1}),
        ([{"connect": True, "tls": False}, {"connect": False}], set()),
    ],
)
def test_https_goes_through_those_that_tunnelled_cleanly_or_else_untried_ones(
    known: list[dict[str, bool]], expected: set[int]
) -> None:
    pool = snapshot(*(entry(f"192.0.2.1:{i}", **one) for i, one in enumerate(known, 1)))
    chooser = PoolChooser(pool, draws().random)
    for target, ports in [
        (Target("shop.example", tunnelled=True), expected),
        (TARGET, set(range(1, len(known) + 1))),
    ]:
        assert {proxy.port for proxy in picked(chooser, target)} == ports


@pytest.mark.parametrize(("taken", "spared"), [(CAP - 1, False), (CAP, True), (CAP + 1, True)])
def test_a_proxy_with_its_share_under_way_is_left_alone(taken: int, spared: bool) -> None:
    one, other = numbered(2, 100)
    chooser = PoolChooser(snapshot(one, other), draws().random)
    for _ in range(taken):
        chooser.usage.begin(one.proxy)
    assert (one.proxy not in picked(chooser, TARGET)) is spared
    for _ in range(taken):
        chooser.release(one.proxy)
    assert len(chooser.usage) == 0


def test_when_all_have_their_share_the_least_busy_takes_more() -> None:
    one, other = numbered(2, 100)
    chooser = PoolChooser(snapshot(one, other), draws().random)
    assert None not in [chooser.pick(TARGET, ()) for _ in range(10 * CAP)]
    assert chooser.usage.of(one.proxy) == chooser.usage.of(other.proxy) == 5 * CAP
    assert chooser.pick(TARGET, [one.proxy, other.proxy]) is None


def test_the_operators_own_proxies_are_not_spared() -> None:
    own, other = entry("192.0.2.1:1", own=True), entry("192.0.2.1:2")
    chooser = PoolChooser(snapshot(own, other), draws().random)
    taken = [chooser.pick(TARGET, ()) for _ in range(200)]
    assert chooser.usage.of(own.proxy) == len(taken) - CAP


def test_whoever_only_looks_uses_nothing() -> None:
    one, other = numbered(2, 100)
    chooser = PoolChooser(snapshot(one, other), draws().random)
    assert chooser.has_other(TARGET, ())
    assert chooser.has_other(TARGET, [one.proxy])
    assert not chooser.has_other(TARGET, [one.proxy, other.proxy])
    assert not chooser.has_other(Target("a", tunnelled=False, site="nosuch"), ())
    assert len(chooser.usage) == 0


# -- sites -----------------------------------------------------------------------------------------


SITES = {
    "universal": Site(url=["http://a/"], ban=Ban(status=[418])),
    "zhihu": Site(url=["http://a/"], match=["zhihu.example"], ban=Ban(status=[403])),
    "plain": Site(url=["http://a/"]),
}


def site_chooser(noted: list[Seen] | None = None) -> PoolChooser:
    shots = {name: snapshot(entry(f"192.0.2.1:{port}")) for port, name in enumerate(SITES, start=1)}
    note = noted.append if noted is not None else None
    return PoolChooser(shots["universal"], draws().random, sites=SITES, snapshots=shots, note=note)


@pytest.mark.parametrize(
    ("host", "site", "port", "words"),
    [
        ("shop.example", None, 1, "1 alive of 1"),
        ("shop.example", "universal", 1, "1 alive of 1"),
        ("www.zhihu.example", None, 2, "1 alive of 1 on the site zhihu"),
        ("shop.example", "zhihu", 2, "1 alive of 1 on the site zhihu"),
        ("zhihu.example", "plain", 3, "1 alive of 1 on the site plain"),
        ("zhihu.example", "nosuch", None, "there is no site 'nosuch'"),
    ],
)
def test_the_chooser_takes_from_the_site_of_the_request(
    host: str, site: str | None, port: int | None, words: str
) -> None:
    target = Target(host, tunnelled=False, site=site)
    exit = site_chooser().pick(target, ())
    assert (exit.proxy.port if exit is not None and exit.proxy else None) == port
    assert site_chooser().describe(target) == words


@pytest.mark.parametrize(
    ("host", "site", "status", "verdict", "finding", "noted"),
    [
        ("www.zhihu.example", None, 403, Verdict.BANNED, Finding.BANNED, "zhihu"),
        ("www.zhihu.example", None, 200, Verdict.GOOD, Finding.GOOD, "zhihu"),
        ("www.zhihu.example", "plain", 403, Verdict.GOOD, Finding.ANSWERED, "plain"),
        ("shop.example", "zhihu", 403, Verdict.BANNED, Finding.BANNED, "zhihu"),
        ("shop.example", None, 403, Verdict.GOOD, Finding.ANSWERED, None),
        ("shop.example", None, 418, Verdict.GOOD, Finding.ANSWERED, None),
        ("shop.example", "universal", 418, Verdict.BANNED, Finding.BANNED, "universal"),
        ("shop.example", "nosuch", 403, Verdict.GOOD, Finding.ANSWERED, "nosuch"),
        ("shop.example", None, 502, Verdict.GOOD, Finding.UNKNOWN, None),
    ],
)
def test_an_answer_is_judged_by_its_sites_rules_and_noted(
    host: str,
    site: str | None,
    status: int,
    verdict: Verdict,
    finding: Finding,
    noted: str | None,
) -> None:
    seen: list[Seen] = []
    response = Response(url="http://x/", outcome=Outcome.ANSWERED, status=status)
    proxy, target = parse_proxy("192.0.2.1:1"), Target(host, tunnelled=False, site=site)
    assert site_chooser(seen).report(proxy, target, response) is verdict
    assert site_chooser().report(proxy, target, response) is verdict
    assert seen == [Seen(proxy, noted, host, finding)]


def test_an_answer_is_held_where_its_sites_rules_look_into_it() -> None:
    sites = {**SITES, "deep": Site(url=["http://a/"], ban=Ban(body="denied"))}
    chooser = PoolChooser(snapshot(), draws().random, sites=sites)
    for site, size in [(None, 0), ("zhihu", 0), ("plain", 0), ("deep", BODY_SEEN), ("nosuch", 0)]:
        assert chooser.find_hold(Target("shop.example", tunnelled=False, site=site)) == size
