"""Checks of the pool's side that one annotation cannot say."""

from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest

from fetcher.settings import Forward
from pool.settings import Ban, Check, Harvest, OwnProxy, Pool, Score, Site
from pool.source import Source


@pytest.mark.parametrize(
    ("minimum", "initial", "maximum", "fine"),
    [
        (0, 10, 100, True),
        (0, 0, 100, False),
        (0, 1, 100, True),
        (0, 99, 100, True),
        (0, 100, 100, True),
        (0, 101, 100, False),
        (-5, -4, -4, True),
        (5, 5, 5, False),
    ],
)
def test_a_new_score_lies_above_the_least_and_not_above_the_most(minimum, initial, maximum, fine):
    if fine:
        assert Score(min=minimum, initial=initial, max=maximum).initial == initial
    else:
        with pytest.raises(ValueError, match=rf"^initial: .* got {initial}$"):
            Score(min=minimum, initial=initial, max=maximum)


def test_universal_is_the_seeds_check_and_always_there():
    default = Pool().sites["universal"]
    assert (default.url, default.status, default.body) == (
        ["http://www.baidu.com"],
        [200],
        "百度一下",
    )
    other = Site(url=["http://a/"])
    assert Pool(sites={"zhihu": other}).sites == {"universal": default, "zhihu": other}
    assert Pool(sites={"universal": other}).sites == {"universal": other}


def test_hosts_of_a_site_are_spelled_as_requests_spell_them():
    hosts = ["Zhihu.COM", "*.zhimg.com", ".x.example", " a.example ", "BÜCHER.example", "[::1]"]
    assert Site(url=["http://a/"], match=hosts).match == [
        "zhihu.com",
        "zhimg.com",
        "x.example",
        "a.example",
        "xn--bcher-kva.example",
        "::1",
    ]


@pytest.mark.parametrize(
    ("key", "sites", "message"),
    [
        ("proxies:a", {"a": []}, "key: expected another key than that of the site a"),
        ("proxies:a:socks", {"a": []}, "key: expected another key than that of the site a"),
        ("proxies", {"socks": []}, "sites: expected another name than 'socks'"),
        ("proxies", {"a": ["h"], "b": ["i", "H"]}, "sites.b.match: expected hosts of one site"),
        ("proxies:universal", {"socks": []}, None),
        ("proxies:universal", {"a": ["h", "h"], "b": ["i.h"]}, None),
        ("proxies:universal", {"universal": ["h"]}, None),
    ],
)
def test_no_two_sites_share_a_sorted_set_or_a_host(key, sites, message):
    built = {name: Site(url=["http://a/"], match=match) for name, match in sites.items()}
    if message is None:
        assert set(built) <= set(Pool(key=key, sites=built).sites)
    else:
        with pytest.raises(ValueError, match="expected") as caught:
            Pool(key=key, sites=built)
        assert str(caught.value).startswith(message)


def test_no_two_sources_share_a_name():
    one, two = (Source(name="a", url=f"http://a/{path}") for path in "xy")
    with pytest.raises(ValueError, match=r"^sources\[1\]\.name: expected one of its own, but 'a'"):
        Pool(sources=[one, two])


@pytest.mark.parametrize("name", ["", "a-b", "a b", "a:socks"])
def test_site_names_that_no_user_name_can_carry_are_refused(name):
    with pytest.raises(ValueError, match=r"^sites: expected names"):
        Pool(sites={name: Site(url=["http://a/"])})


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"url": []}, "url: expected at least one"),
        ({"url": ["http://a/", "a"]}, "url[1]: expected a URL"),
        ({"url": ["http://a/"], "body": "("}, "body: not a regular expression: "),
        ({"url": ["http://a/"], "match": ["a", "http://b"]}, "match[1]: expected a host"),
        ({"url": ["http://a/"], "match": ["a/b"]}, "match[0]: expected a host"),
        ({"url": ["http://a/"], "match": ["a:80"]}, "match[0]: expected a host"),
        ({"url": ["http://a/"], "match": ["[::1]:80"]}, "match[0]: expected a host"),
        ({"url": ["http://a/"], "match": [""]}, "match[0]: expected a host"),
        ({"url": ["http://a/"], "match": ["*"]}, "match[0]: expected a host"),
        ({"url": ["http://a/"], "match": ["u@a"]}, "match[0]: expected a host"),
        ({"url": ["http://a/"], "match": ["a b"]}, "match[0]: expected a host"),
        ({"url": ["http://a/"], "canary": True}, "canary: expected a URL, null"),
        ({"url": ["http://a/"], "canary": "a"}, "canary[0]: expected a URL"),
    ],
)
def test_sites_that_cannot_be_checked_are_refused(keys, message):
    with pytest.raises(ValueError, match=r"expected|not a") as caught:
        Site(**keys)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("canary", [None, False, "https://a/"])
def test_canary_is_a_url_the_sites_own_or_none(canary):
    assert Site(url=["http://a/"], canary=canary).canary == canary


def test_ban_rules_are_compiled_when_they_are_read():
    assert Ban(body="captcha|blocked").body == "captcha|blocked"
    with pytest.raises(ValueError, match=r"^body: not a regular expression: "):
        Ban(body="[")


def test_expiry_without_a_time_zone_is_utc():
    naive = datetime(2027, 1, 31)  # noqa: DTZ001
    assert OwnProxy(url="h:1", expires=naive).expires == datetime(2027, 1, 31, tzinfo=UTC)
    zoned = datetime(2027, 1, 31, tzinfo=timezone(timedelta(hours=8)))
    assert OwnProxy(url="h:1", expires=zoned).expires == zoned
    assert OwnProxy(url="h:1").expires is None


@pytest.mark.parametrize("text", ["gopher://u:secret@h:1", "u:secret@h:0", "h:1:u:secret"])
def test_own_proxies_that_cannot_be_read_are_refused_without_their_text(text):
    with pytest.raises(ValueError, match=r"^url: expected a proxy") as caught:
        OwnProxy(url=text)
    assert "secret" not in str(caught.value)
    with pytest.raises(ValueError, match=r"^proxies\[1\]: expected a proxy") as caught:
        Pool(proxies=[OwnProxy(url="h:1"), text])
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("text", ["u:secret@1.2.3.4.5:1", f"socks5://u:{'secret' * 50}@h:1"])
def test_own_proxies_that_could_never_be_reached_are_refused(text):
    with pytest.raises(ValueError, match=r"^url: expected a proxy that can be reached") as caught:
        OwnProxy(url=text)
    assert "secret" not in str(caught.value)
    with pytest.raises(ValueError, match=r"^proxies\[0\]: expected a proxy that can be reached"):
        Pool(proxies=[text])
    assert Pool(proxies=["squid_proxy:3128", "127.1", f"u:{'secret' * 50}@h"]).proxies


def test_judges_are_urls():
    assert Pool(judges=["http://a/judge"]).judges == ["http://a/judge"]
    with pytest.raises(ValueError, match=r"^judges\[0\]: "):
        Pool(judges=["a"])


def test_forward_route_is_a_route():
    assert Forward(route=["pool", "direct"]).route == ["pool", "direct"]
    with pytest.raises(ValueError, match=r"^route: "):
        Forward(route="pool:")


@pytest.mark.parametrize(
    ("struct", "key", "fine", "wrong"),
    [
        (Pool, "max_size", [0, 1], [-1]),
        (Pool, "resync", [0.1, 60], [0, -1]),
        (Pool, "tombstone", [0, 1], [-1]),
        (Harvest, "cycle", [0.1], [0]),
        (Check, "concurrency", [1], [0]),
        (Check, "timeout", [0.1], [0]),
        (Check, "rate", [0, 0.5], [-0.1]),
        (Ban, "status", [[], [100, 599]], [[99], [600]]),
        (Forward, "connect_ports", [[], [1, 65535]], [[0], [65536]]),
        (Forward, "port", [0, 65535], [-1, 65536]),
    ],
)
def test_annotations_hold_at_the_limits(struct, key, fine, wrong):
    for value in fine:
        assert getattr(msgspec.convert({key: value}, struct), key) == value
    for value in wrong:
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({key: value}, struct)


@pytest.mark.parametrize(
    ("country", "fine"), [("DE", True), ("NO", True), ("de", False), ("DEU", False)]
)
def test_a_country_is_two_capital_letters(country, fine):
    keys = {"url": "h:1", "country": country}
    if fine:
        assert msgspec.convert(keys, OwnProxy).country == country
    else:
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(keys, OwnProxy)
