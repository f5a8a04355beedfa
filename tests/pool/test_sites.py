import pytest

from fetcher.model import Target
from fetcher.proxy import parse_proxy
from pool.model import Candidate, Record
from pool.settings import Check, Pool, Site
from pool.sites import UNIVERSAL, Sites, newcomer, share, site_key, with_proofs


def site(*match: str) -> Site:
    return Site(url=["http://a/"], match=list(match))


SITES = Sites(
    {
        "universal": site(),
        "zhihu": site("zhihu.com", "*.zhimg.com"),
        "blog": site("blog.zhihu.com", "BÜCHER.example", "[2001:db8::1]"),
    }
)


@pytest.mark.parametrize(
    ("host", "named", "expected"),
    [
        ("zhihu.com", None, "zhihu"),
        ("zhihu.com.", None, "zhihu"),
        ("www.zhihu.com", None, "zhihu"),
        ("a.b.zhimg.com", None, "zhihu"),
        ("zhimg.com", None, "zhihu"),
        ("blog.zhihu.com", None, "blog"),
        ("x.blog.zhihu.com", None, "blog"),
        ("xn--bcher-kva.example", None, "blog"),
        ("2001:db8::1", None, "blog"),
        ("notzhihu.com", None, None),
        ("zhihu.com.evil.example", None, None),
        ("com", None, None),
        ("", None, None),
        ("zhihu.com", "universal", "universal"),
        ("zhihu.com", "blog", "blog"),
        ("other.example", "nosuch", "nosuch"),
        ("zhihu.com", "", "zhihu"),
    ],
)
def test_a_request_belongs_to_the_site_it_names_or_to_its_hosts(
    host: str, named: str | None, expected: str | None
) -> None:
    assert SITES.find(Target(host, tunnelled=True, site=named)) == expected


def test_without_hosts_nothing_is_looked_up() -> None:
    assert Sites({"universal": site()}).find(Target("a.example", tunnelled=False)) is None


@pytest.mark.parametrize(
    ("key", "name", "expected"),
    [
        ("proxies:universal", UNIVERSAL, "proxies:universal"),
        ("proxies", UNIVERSAL, "proxies"),
        ("proxies", "zhihu", "proxies:zhihu"),
        ("proxies:universal", "a.b", "proxies:a.b"),
    ],
)
def test_a_sites_proxies_lie_where_proxypool_has_its_sub_pools(
    key: str, name: str, expected: str
) -> None:
    assert site_key(Pool(key=key), name) == expected


@pytest.mark.parametrize(
    ("concurrency", "further", "universal", "each"),
    [(500, 0, 500, 500), (500, 1, 375, 125), (500, 4, 376, 31), (2, 1, 1, 1), (1, 3, 1, 1)],
)
def test_all_sites_together_stay_within_what_one_may_take(
    concurrency: int, further: int, universal: int, each: int
) -> None:
    first, others = share(Check(concurrency=concurrency, rate=200.0), further)
    assert (first.concurrency, others.concurrency) == (universal, each)
    if further:
        assert first.rate + further * others.rate == pytest.approx(200.0)


def test_without_a_rate_nobody_has_one() -> None:
    assert [one.rate for one in share(Check(rate=0.0), 3)] == [0.0, 0.0]


def test_a_newcomer_keeps_its_origin_and_has_not_been_checked() -> None:
    known = Record(source="list", own=True, country="DE", added=5.0, checked=9.0, latency=1.0)
    proxy = parse_proxy("192.0.2.1:80")
    assert newcomer(Candidate(proxy, known)) == Candidate(
        proxy, Record(source="list", own=True, country="DE", added=5.0)
    )


@pytest.mark.parametrize(
    ("universal", "own", "expected"),
    [(None, None, None), (None, True, True), (False, True, False), (True, None, True)],
)
def test_what_judges_told_counts_before_what_a_site_has_seen(
    universal: bool | None, own: bool | None, expected: bool | None
) -> None:
    mine = Record(checked=5.0, latency=0.5, connect=own, tls=own)
    told = Record(
        proven=7.0, connect=universal, tls=universal, unaltered=True, anonymity="elite", exit="x"
    )
    assert with_proofs(mine, told) == Record(
        checked=5.0,
        latency=0.5,
        proven=7.0,
        connect=expected,
        tls=expected,
        unaltered=True,
        anonymity="elite",
        exit="x",
    )
