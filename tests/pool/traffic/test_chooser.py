from typing import Any

import pytest

from fetcher.errors import Outcome
from fetcher.model import Response, Target, Verdict, Wishes
from fetcher.proxy import Proxy, parse_proxy
from pool.check.rule import BODY_SEEN
from pool.model import Entry
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


@pytest.mark.parametrize("country", [None, "DE"])
def test_those_that_alter_plain_http_carry_it_when_there_is_no_other(country: str | None) -> None:
    altering = entry("192.0.2.1:1", unaltered=False, connect=True, country="DE")
    others = [entry(f"192.0.2.1:{port}", connect=True, country="DE") for port in (2, 3)]
    chooser = PoolChooser(snapshot(altering, *others), draws().random)
    target = Target(host="x", tunnelled=False, wishes=Wishes(country=country))
    proxies = [one.proxy for one in others]
    assert picked(chooser, target) == set(proxies)
    assert chooser.has_other(target, proxies)
    exit = chooser.pick(target, proxies)
    assert exit is not None
    assert exit.proxy == altering.proxy
    assert not chooser.has_other(target, [*proxies, altering.proxy])
    tunnelled = Target(host="x", tunnelled=True, wishes=Wishes(country=country))
    assert picked(chooser, tunnelled) == {altering.proxy, *proxies}


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


# -- what may be wished for ------------------------------------------------------------------------


def target(*, tunnelled: bool = False, site: str | None = None, **wishes: Any) -> Target:
    return Target("shop.example", tunnelled, site, Wishes(**wishes))


def ports(chooser: PoolChooser, target: Target) -> set[int]:
    return {proxy.port for proxy in picked(chooser, target)}


@pytest.mark.parametrize(
    "known",
    [
        entry("192.0.2.9:9"),
        entry("192.0.2.9:9", 1),
        entry("192.0.2.9:9", 10),
        entry("192.0.2.9:9", connect=False),
        entry("192.0.2.9:9", country="US"),
    ],
)
@pytest.mark.parametrize("only", [False, True])
def test_a_preferred_proxy_is_taken_whatever_the_pool_thinks_of_it(
    known: Entry, only: bool
) -> None:
    chooser = PoolChooser(snapshot(*numbered(3, 100), known), draws().random)
    for _ in range(CAP):
        chooser.usage.begin(known.proxy)
    wanted = target(tunnelled=True, preferred=known.proxy, only=only, country="DE")
    exit = chooser.pick(wanted, ())
    assert exit is not None
    assert (exit.proxy, exit.from_pool, exit.unchecked) == (known.proxy, True, False)
    assert chooser.usage.of(known.proxy) == CAP + 1
    assert chooser.has_other(wanted, ())


@pytest.mark.parametrize(("is_there", "tried"), [(False, False), (True, True)])
def test_without_a_preferred_proxy_others_are_taken_unless_it_is_to_be_the_only_one(
    is_there: bool, tried: bool
) -> None:
    [known] = numbered(1, 100, first=100)
    others = numbered(3, 100)
    chooser = PoolChooser(snapshot(*others, *([known] if is_there else [])), draws().random)
    before = [known.proxy] if tried else []
    exit = chooser.pick(target(preferred=known.proxy), before)
    assert exit is not None
    assert exit.proxy in {one.proxy for one in others}
    only = target(preferred=known.proxy, only=True)
    assert chooser.pick(only, before) is None
    assert not chooser.has_other(only, before)
    assert len(chooser.usage) == 1


def test_a_preferred_proxy_that_its_site_has_let_go_of_is_taken_all_the_same() -> None:
    chooser = site_chooser()
    universals, zhihus = parse_proxy("192.0.2.1:1"), parse_proxy("192.0.2.1:2")
    for proxy, site, is_known in [
        (universals, "zhihu", True),
        (universals, None, True),
        (zhihus, "zhihu", True),
        (zhihus, None, False),
        (universals, "nosuch", False),
    ]:
        exit = chooser.pick(target(site=site, preferred=proxy, only=True), ())
        assert (exit is not None) is is_known


def test_a_preferred_proxy_is_found_however_others_spell_it() -> None:
    chooser = PoolChooser(snapshot(entry("HTTP://192.0.2.1:1")), draws().random)
    exit = chooser.pick(target(preferred=parse_proxy("192.0.2.1:1"), only=True), ())
    assert exit is not None


@pytest.mark.parametrize(
    ("country", "tunnelled", "expected"),
    [
        ("DE", False, {1, 2}),
        ("de", False, {1, 2}),
        ("DE", True, {1}),
        ("US", False, {3}),
        ("US", True, set()),
        ("FR", False, set()),
    ],
)
def test_a_country_is_the_one_of_the_exit_or_none_is_taken(
    country: str, tunnelled: bool, expected: set[int]
) -> None:
    pool = snapshot(
        entry("192.0.2.1:1", country="DE", connect=True, tls=True),
        entry("192.0.2.1:2", country="de", connect=False),
        entry("192.0.2.1:3", country="US", connect=False),
        entry("192.0.2.1:4", 99, country="FR"),
        entry("192.0.2.1:5"),
    )
    chooser = PoolChooser(pool, draws().random)
    assert ports(chooser, target(tunnelled=tunnelled, country=country)) == expected


@pytest.mark.parametrize("tunnelled", [False, True])
def test_those_that_nobody_has_checked_are_taken_where_there_is_no_good_one(
    tunnelled: bool,
) -> None:
    fresh, known = entry("192.0.2.1:1", 10), entry("192.0.2.1:2", 10, checked=5.0)
    pool = snapshot(fresh, known, entry("192.0.2.1:3", 9, checked=5.0))
    chooser = PoolChooser(pool, draws().random)
    assert ports(chooser, target(tunnelled=tunnelled)) == set()
    wanted = target(tunnelled=tunnelled, unchecked=True)
    exit = chooser.pick(wanted, ())
    assert exit is not None
    assert (exit.proxy, exit.unchecked) == (fresh.proxy, True)
    assert not chooser.has_other(wanted, [fresh.proxy])
    good = entry("192.0.2.1:4", 100, checked=5.0)
    pool.put(good)
    assert ports(chooser, wanted) == {4}
    exit = chooser.pick(wanted, ())
    assert exit is not None
    assert exit.unchecked is False
    exit = chooser.pick(wanted, [good.proxy])
    assert exit is not None
    assert exit.unchecked is True


def test_those_that_nobody_has_checked_may_have_a_country() -> None:
    pool = snapshot(entry("192.0.2.1:1", 10, country="DE"), entry("192.0.2.1:2", 10))
    chooser = PoolChooser(pool, draws().random)
    assert ports(chooser, target(country="DE", unchecked=True)) == {1}
    assert ports(chooser, target(country="US", unchecked=True)) == set()


@pytest.mark.parametrize("tunnelled", [False, True])
def test_those_to_be_avoided_are_taken_when_there_is_no_other(tunnelled: bool) -> None:
    clean, unknown = entry("192.0.2.1:1", connect=True, tls=True), entry("192.0.2.1:2")
    chooser = PoolChooser(snapshot(clean, unknown), draws().random)
    one, both = {clean.proxy}, {clean.proxy, unknown.proxy}
    assert ports(chooser, target(tunnelled=tunnelled, avoid=one)) == {2}
    for _ in range(10 * CAP):  # however busy the other is
        chooser.usage.begin(unknown.proxy)
    assert ports(chooser, target(tunnelled=tunnelled, avoid=one)) == {2}
    assert ports(chooser, target(tunnelled=tunnelled, avoid=both)) == {1}
    exit = chooser.pick(target(tunnelled=tunnelled, avoid=one), [unknown.proxy])
    assert exit is not None
    assert exit.proxy == clean.proxy


@pytest.mark.parametrize(
    ("checks", "site", "expected"),
    [
        (True, None, True),
        (True, "universal", True),
        (True, "plain", False),
        (True, "nosuch", False),
        (False, None, False),
    ],
)
def test_checks_that_are_due_may_soon_find_one(
    checks: bool, site: str | None, expected: bool
) -> None:
    pool = snapshot(entry("192.0.2.1:1", 10), entry("192.0.2.1:2", 9))
    plain = snapshot(entry("192.0.2.1:1", 9, checked=1.0), entry("192.0.2.1:2", 10, checked=1.0))
    chooser = PoolChooser(
        pool, draws().random, checks=checks, sites=SITES, snapshots={"plain": plain}
    )
    assert chooser.expects(target(site=site)) is expected


@pytest.mark.parametrize("tunnelled", [False, True])
def test_those_that_nobody_has_checked_may_be_the_next_when_the_good_ones_were_tried(
    tunnelled: bool,
) -> None:
    good, fresh = entry("192.0.2.1:1", 100, checked=1.0), entry("192.0.2.1:2", 10)
    chooser = PoolChooser(snapshot(good, fresh), draws().random)
    wanted = target(tunnelled=tunnelled, widens=True)
    assert ports(chooser, wanted) == {1}
    exit = chooser.pick(wanted, [good.proxy])
    assert exit is not None
    assert (exit.proxy, exit.unchecked) == (fresh.proxy, True)
    assert chooser.has_other(wanted, [good.proxy])
    assert not chooser.has_other(target(tunnelled=tunnelled), [good.proxy])
    none = PoolChooser(snapshot(fresh), draws().random)
    assert not none.has_other(wanted, ())


def test_where_https_passes_through_none_those_are_the_last_that_are_tried() -> None:
    unclean = entry("192.0.2.1:1", 100, checked=1.0, connect=True, tls=False)
    chooser = PoolChooser(snapshot(unclean), draws().random)
    assert not chooser.has_other(target(tunnelled=True), ())
    exit = chooser.pick(target(tunnelled=True, unchecked=True), ())
    assert exit is not None
    assert (exit.proxy, exit.unchecked) == (unclean.proxy, True)
    exit = chooser.pick(target(tunnelled=False, unchecked=True), ())
    assert exit is not None
    assert exit.unchecked is False


@pytest.mark.parametrize("connect", [True, False, None])
def test_https_may_soon_pass_through_those_that_are_good(connect: bool | None) -> None:
    pool = snapshot(entry("192.0.2.1:1", 100, checked=1.0, connect=connect, tls=False))
    chooser = PoolChooser(pool, draws().random, checks=True)
    assert chooser.expects(target(tunnelled=True))
    assert not chooser.expects(target(tunnelled=False))


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
