"""Checks of the fetcher's side that one annotation cannot say."""

import re

import msgspec
import pytest

from fetcher import VERSION
from fetcher.settings import (
    S3,
    YEAR,
    Api,
    Fetcher,
    Forward,
    Log,
    LowSpeed,
    PerKey,
    Queue,
    Redis,
    Renderer,
    Rpc,
    Tls,
    check_http_urls,
    check_proxy,
    check_route,
    is_site_name,
)


def test_user_agent_names_project_version_and_how_to_reach_the_operator():
    agent = Fetcher().user_agent
    assert agent.startswith(f"fetchpool/{VERSION} ")
    assert "fetcher.user_agent" in agent


@pytest.mark.parametrize(
    "url",
    [
        "embedded",
        "redis://localhost",
        "redis://:secret@127.0.0.1:6379/0",
        "redis://user:se:cr@et@[::1]:1/15",
        "rediss://host:65535/3?ssl_cert_reqs=none",
        "unix:///run/redis.sock?db=2",
        "redis+sentinel://:pw@a:26379,b:26379,c/mymaster/0",
        "redis+cluster://a:7000,b:7001",
        "redis+cluster://a:7000/0",
    ],
)
def test_redis_urls_that_say_where_to_go_are_taken(url):
    assert Redis(url=url).url == url


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("", "embedded"),
        ("Embedded", "embedded"),
        ("http://:secret@host", "redis+sentinel://"),
        ("host:6379", "redis://"),
        ("redis://", "host:port"),
        ("redis://:secret@/0", "host:port"),
        ("redis://:secret@host:0", "1 to 65535"),
        ("redis://:secret@host:65536", "1 to 65535"),
        ("redis://:secret@host:port", "1 to 65535"),
        ("redis://:secret@a:1,b:2", "host:port"),
        ("redis://:secret@[::1/0", "host:port"),
        ("redis://:secret@host/queue", "number"),
        ("unix://", "unix:///"),
        ("unix://:secret@relative.sock", "unix:///"),
        ("redis+sentinel://:secret@a:1,:2/m", "host:port"),
        ("redis+cluster://:secret@a:1/1", "no database"),
    ],
)
def test_redis_urls_that_lead_nowhere_are_refused_without_the_password(url, word):
    with pytest.raises(ValueError, match=r"^url: ") as caught:
        Redis(url=url)
    assert word in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("prefix", ["a b", "{a}", "a*", "a?", "[a]", "a\\"])
def test_key_prefix_has_nothing_that_moves_a_hash_tag_or_matches(prefix):
    with pytest.raises(ValueError, match=r"^prefix: "):
        Redis(prefix=prefix)


@pytest.mark.parametrize("names", [{"in_": "fetcher_dead"}, {"out": "a", "in_": "a"}])
def test_queues_of_one_name_are_refused(names):
    with pytest.raises(ValueError, match=r"^dead: expected three different"):
        Queue(**names)


@pytest.mark.parametrize(
    ("timeout", "max_timeout", "fine"),
    [
        (9, 10, True),
        (10, 10, True),
        (11, 10, False),
        (0, 10, True),
        (11, 0, True),
        (0, 0, True),
    ],
)
def test_a_task_may_not_have_more_time_than_the_most(timeout, max_timeout, fine):
    if fine:
        assert Fetcher(timeout=timeout, max_timeout=max_timeout).timeout == timeout
    else:
        with pytest.raises(ValueError, match=r"^timeout: expected at most max_timeout \(10\)"):
            Fetcher(timeout=timeout, max_timeout=max_timeout)


def test_a_fetcher_without_schemes_is_refused():
    with pytest.raises(ValueError, match=r"^schemes: "):
        Fetcher(schemes=[])


@pytest.mark.parametrize(
    "route",
    [
        None,
        False,
        "",
        "direct",
        "env",
        "pool",
        "pool:zhihu",
        "pool:a.b_1",
        "host:8080",
        "socks5h://u:p@[::1]:1080",
        "https://u:p@gateway?noconnect",
        ["pool", "direct"],
        ["pool:zhihu", "http://u:p@h:1", "env"],
    ],
)
def test_routes_of_the_contract_are_taken(route):
    check_route("proxy", route)
    assert Fetcher(proxy=route).proxy == route
    assert Api(proxy=route).proxy == route


@pytest.mark.parametrize(
    ("route", "key"),
    [
        (True, "proxy"),
        ([], "proxy"),
        ("pool:", "proxy"),
        ("pool:a b", "proxy"),
        ("ftp://secret@h:1", "proxy"),
        ("h:65536", "proxy"),
        ("h:1:secret:secret", "proxy"),
        (["pool", "gopher://u:secret@h"], "proxy[1]"),
        (["", "pool"], "proxy[0]"),
    ],
)
def test_other_routes_are_refused_without_their_text(route, key):
    for section in (Fetcher, Api):
        with pytest.raises(ValueError, match="expected") as caught:
            section(proxy=route)
        assert str(caught.value).startswith(f"{key}: ")
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("route", "words"),
    [
        ("pol", "proxy: pol is none of our words: did you mean pool"),
        (["env", "dirct"], "proxy[1]: dirct is none of our words: did you mean direct"),
    ],
)
def test_a_misspelt_route_is_no_hosts_name(route, words):
    for check in (check_route, lambda _, route: Fetcher(proxy=route)):
        with pytest.raises(ValueError, match=re.escape(words)):
            check("proxy", route)


def test_a_proxy_is_refused_with_what_was_expected():
    check_proxy("url", "http://u:p@h:1")
    with pytest.raises(ValueError, match=r"^url: expected a proxy's URL or host:port; "):
        check_proxy("url", "two words")


@pytest.mark.parametrize("url", ["http://h", "https://h:1/p?q", "http://[::1]:8050"])
def test_http_urls_are_taken(url):
    assert S3(endpoint=url).endpoint == url
    assert Api(public_url=url).public_url == url
    assert Renderer(splash=url, puppeteer=url).splash == url


@pytest.mark.parametrize(
    "url", ["h:1", "ftp://h", "http://", "http://h:x", "http://h:0", "http://["]
)
def test_what_is_no_http_url_is_refused(url):
    with pytest.raises(ValueError, match=r"^endpoint: "):
        S3(endpoint=url)
    with pytest.raises(ValueError, match=r"^public_url: "):
        Api(public_url=url)


def test_the_first_wrong_url_of_a_list_is_named():
    check_http_urls("judges", [])
    with pytest.raises(ValueError, match=r"^judges\[1\]: "):
        check_http_urls("judges", ["http://a/", "b", "c"])


@pytest.mark.parametrize("kind", ["splash", "phantomjs", "puppeteer"])
def test_a_renderer_may_be_a_bare_host_and_port(kind):
    assert getattr(msgspec.convert({kind: "localhost:1"}, Renderer), kind) == "localhost:1"
    for wrong in ("localhost:x", "ftp://localhost:1"):
        with pytest.raises(ValueError, match=f"{kind}: expected host:port or a URL such as http"):
            msgspec.convert({kind: wrong}, Renderer)


@pytest.mark.parametrize(
    ("name", "fine"),
    [("universal", True), ("a.b_C9", True), ("", False), ("a-b", False), ("a b", False)],
)
def test_site_names_are_what_a_proxy_user_name_can_carry(name, fine):
    assert is_site_name(name) is fine


@pytest.mark.parametrize(
    ("struct", "key", "fine", "wrong"),
    [
        (Log, "level", ["debug", "critical"], ["loud", ""]),
        (Log, "format", ["text", "json"], ["xml"]),
        (Queue, "transport", ["list", "stream"], ["kafka"]),
        (Queue, "maxsize", [0, 1], [-1, 0.5]),
        (Queue, "lease", [1, 60.5, YEAR], [0.9, YEAR + 1]),
        (Fetcher, "poolsize", [1, 2], [0, "1", True]),
        (Fetcher, "retries", [0, 1000], [-1, 1001]),
        (Fetcher, "connect_timeout", [0, YEAR], [-1, YEAR + 1]),
        (Fetcher, "allow_private", [True, False, "all"], ["some", None]),
        (Fetcher, "schemes", [["ftp", "file", "s3"]], [["gopher"], "http"]),
        (Fetcher, "user_agent", ["a", "Ä (x@y.z)"], ["", "a\nb", "a\r", "a\x00"]),
        (Fetcher, "bindaddress", ["eth0", "::1", None], ["", "eth 0"]),
        (LowSpeed, "seconds", [0, 30], [-1]),
        (Rpc, "port", [0, 1, 65535], [-1, 65536, "80"]),
        (Rpc, "host", ["::", "0.0.0.0", "a.b"], ["", "[::1]", "a b", "http://a"]),
        (Rpc, "key", ["k", None], ["", 1]),
        (Renderer, "pages", [1], [0]),
        (Api, "proxy_pool_port", [None, 0, 65535], [65536]),
        (Api, "rate", [0, 0.5], [-1]),
        (Forward, "port", [0, 5556, 65535], [-1, 65536]),
        (Forward, "key", ["k", None], ["", 1]),
        (Forward, "keys", [{}, {"ann": "k", "": "x"}], [{"ann": ""}, {"ann": 1}, ["k"]]),
        (Forward, "connect_ports", [[], [1, 65535]], [[0], [65536], ["443"], 443]),
        (Forward, "max_connections", [0, 1], [-1, 0.5]),
        (Forward, "idle", [0, YEAR], [-1, YEAR + 1]),
        (Forward, "replay", [True, False], [1, "yes", None]),
        (Forward, "hedge", [0, 0.1, 1], [-0.1, 1.1, True]),
        (PerKey, "connections", [0, 1], [-1, 0.5]),
        (PerKey, "rate", [0, 0.1, 1000], [-0.1, "1"]),
        (PerKey, "bytes_per_day", [0, 1 << 50], [-1, 0.5]),
    ],
)
def test_annotations_hold_at_the_limits(struct, key, fine, wrong):
    for value in fine:
        assert getattr(msgspec.convert({key: value}, struct), key) == value
    for value in wrong:
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({key: value}, struct)


def test_the_forward_proxy_has_the_contracts_defaults():
    forward = Forward()
    assert (forward.host, forward.port, forward.route) == ("127.0.0.1", 5556, "pool")
    assert forward.connect_ports == [80, 443, 8080, 8443]
    assert (forward.key, forward.keys, forward.allow_private) == (None, {}, False)
    assert (forward.max_connections, forward.idle) == (2000, 300.0)
    assert (forward.replay, forward.hedge) == (True, 0.1)
    assert forward.per_key == PerKey(connections=0, rate=0.0, bytes_per_day=0)
    assert forward.tls == Tls(cert=None, key=None)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, None),
        ({"cert": "a.pem", "key": "b.pem"}, None),
        ({"cert": "a.pem"}, "key: expected a PEM file, as the other of the two is set"),
        ({"key": "b.pem"}, "cert: expected a PEM file, as the other of the two is set"),
        ({"cert": "", "key": "b.pem"}, "length >= 1"),
    ],
)
def test_a_certificate_and_its_key_go_together(given, message):
    if message is None:
        assert msgspec.convert({"tls": given}, Forward).tls == Tls(**given)
    else:
        with pytest.raises(msgspec.ValidationError, match=message):
            msgspec.convert({"tls": given}, Forward)


@pytest.mark.parametrize("key", ["per_key", "tls"])
def test_a_key_that_the_forward_proxy_does_not_know_is_refused(key):
    with pytest.raises(msgspec.ValidationError, match="unknown field `nosuch`"):
        msgspec.convert({key: {"nosuch": 1}}, Forward)
