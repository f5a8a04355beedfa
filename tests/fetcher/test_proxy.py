import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fetcher.errors import ProxyError
from fetcher.proxy import SCHEMES, WORDS, Proxy, find_meant, parse_as_curl, parse_proxy


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("h", Proxy("http", "h", 8080)),
        ("h:1", Proxy("http", "h", 1)),
        ("h:65535", Proxy("http", "h", 65535)),
        ("http://h:3128", Proxy("http", "h", 3128)),
        ("http://h:3128/", Proxy("http", "h", 3128)),
        ("  h:1\n", Proxy("http", "h", 1)),
        ("HTTP://Example.COM:80", Proxy("http", "example.com", 80)),
        ("https://h", Proxy("https", "h", 8080)),
        ("socks4://h:1080", Proxy("socks4", "h", 1080)),
        ("socks4a://h:1080", Proxy("socks4a", "h", 1080)),
        ("socks5://h:1080", Proxy("socks5", "h", 1080)),
        ("SOCKS5H://h:1080", Proxy("socks5h", "h", 1080)),
        ("my_proxy-1.example.com:8000", Proxy("http", "my_proxy-1.example.com", 8000)),
        ("127.0.0.1:8000", Proxy("http", "127.0.0.1", 8000)),
        ("[::1]:8000", Proxy("http", "::1", 8000)),
        ("http://[2001:DB8::1]", Proxy("http", "2001:db8::1", 8080)),
        ("u:p@h:1", Proxy("http", "h", 1, "u", "p")),
        ("http://u:p@h:1/", Proxy("http", "h", 1, "u", "p")),
        ("u@h:1", Proxy("http", "h", 1, "u", "")),
        ("u:@h:1", Proxy("http", "h", 1, "u", "")),
        (":p@h:1", Proxy("http", "h", 1, "", "p")),
        ("u:p@ss@h:1", Proxy("http", "h", 1, "u", "p@ss")),
        ("u:p:q@h:1", Proxy("http", "h", 1, "u", "p:q")),
        ("u:p%40%25%3A@h:1", Proxy("http", "h", 1, "u", "p@%:")),
        ("u:p/?#@h:1", Proxy("http", "h", 1, "u", "p/?#")),
        ("u:пароль@h:1", Proxy("http", "h", 1, "u", "пароль")),
        ("http://h:1?noconnect", Proxy("http", "h", 1, noconnect=True)),
        ("http://u:p@h:1/?noconnect", Proxy("http", "h", 1, "u", "p", noconnect=True)),
    ],
)
def test_every_spelling_that_people_use_is_read(text: str, expected: Proxy) -> None:
    assert parse_proxy(text) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "cannot read"),
        (":1", "cannot read"),
        ("http://", "cannot read"),
        ("h:", "cannot read"),
        ("h:x", "cannot read"),
        ("h:-1", "cannot read"),
        ("h:1/path", "cannot read"),
        ("h:1?other", "cannot read"),
        ("h:1:u:p", "cannot read"),
        ("a b:1", "cannot read"),
        ("::1", "cannot read"),
        ("h:1234567890", "cannot read"),
        ("h:0", "out of range"),
        ("h:65536", "out of range"),
        ("h:999999999", "out of range"),
        ("ftp://h:1", "unknown proxy scheme 'ftp'"),
        ("[1:2]:80", "not an IPv6 address"),
        ("[1.2.3.4]:80", "not an IPv6 address"),
        ("bücher.example:80", "not ASCII"),
        ("h1,h2:80", "characters that no host name has"),
        ("h\\x:80", "characters that no host name has"),
        ("h\x00:80", "characters that no host name has"),
        ("h%2e:80", "characters that no host name has"),
    ],
)
def test_what_is_no_proxy_is_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(ProxyError, match=words):
        parse_proxy(text)


@pytest.mark.parametrize(
    "text",
    [
        "h:1:s3cret-user:s3cret-pass",
        "s3cret-user:s3cret-pass:h:1",
        "s3cret-user:s3cret-pass",
        "h:1@s3cret-user:s3cret-pass",
        "h:1@s3cret-user:123456",
        "http://h:1:s3cret-user:s3cret-pass",
        "http://h:1@s3cret-user:s3cret-pass",
        "http://s3cret-user:s3cret-pass:h:1",
        "s3cret-user:s3cret-pass@h:x",
        "s3cret-user:s3cret pass@h:1",
        "http://s3cret-user:s3cret-pass@h:0",
        "http://s3cret-user:s3cret-pass@bücher.example",
        "ftp://s3cret-user:s3cret-pass@h",
        "s3cret-user://s3cret-pass@h:x",
        "http:/s3cret-user:s3cret-pass@@h:x",
        "http://s3cret-user:s3cret://x@h:x",
        "h 1 s3cret-user s3cret-pass",
        "h|1|s3cret-user:s3cret-pass",
    ],
)
def test_an_error_never_repeats_credentials(text: str) -> None:
    with pytest.raises(ProxyError) as caught:
        parse_proxy(text)
    if not text.startswith("s3cret-user://"):
        assert "s3cret" not in str(caught.value)
    assert "s3cret-pass" not in str(caught.value)


def test_an_error_names_the_host_where_nothing_else_can_be_meant() -> None:
    with pytest.raises(ProxyError, match=r"'http://\*\*\*@gateway:99999'"):
        parse_proxy("http://u:p@gateway:99999")
    with pytest.raises(ProxyError, match=r"'gateway:0'"):
        parse_proxy("gateway:0")


def test_an_error_is_short_however_long_the_text() -> None:
    with pytest.raises(ProxyError) as caught:
        parse_proxy("a b" * 100_000)
    assert len(str(caught.value)) < 300


def test_the_caller_says_what_stands_in_for_a_missing_scheme_and_port() -> None:
    assert parse_proxy("h", scheme="socks5", port=1080) == Proxy("socks5", "h", 1080)
    assert parse_proxy("http://h:1", scheme="socks5", port=1080) == Proxy("http", "h", 1)


@pytest.mark.parametrize(
    ("proxy", "authority", "url", "member", "is_socks"),
    [
        (Proxy("http", "h", 1), "h:1", "http://h:1", "h:1", False),
        (Proxy("http", "::1", 1), "[::1]:1", "http://[::1]:1", "[::1]:1", False),
        (Proxy("http", "h", 1, "u", "p"), "h:1", "http://h:1", "u:p@h:1", False),
        (Proxy("http", "h", 1, "u", ""), "h:1", "http://h:1", "u@h:1", False),
        (Proxy("http", "h", 1, "u@", "p:/"), "h:1", "http://h:1", "u%40:p%3A%2F@h:1", False),
        (Proxy("https", "h", 1), "h:1", "https://h:1", "https://h:1", False),
        (
            Proxy("socks5", "h", 1, "u", "p"),
            "h:1",
            "socks5://h:1",
            "socks5://u:p@h:1",
            True,
        ),
    ],
)
def test_a_proxy_is_spelled_in_three_ways(
    proxy: Proxy, authority: str, url: str, member: str, is_socks: bool
) -> None:
    assert (proxy.authority, proxy.url, proxy.member) == (authority, url, member)
    assert proxy.is_socks is is_socks


def test_proxies_that_differ_by_password_alone_are_two() -> None:
    assert len({parse_proxy("u:1@h:1"), parse_proxy("u:2@h:1"), parse_proxy("u:1@H:1")}) == 2


# Percent-decoding may yield anything but half a character.
_credentials = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_hosts = st.from_regex(r"[a-z0-9]([a-z0-9._-]{0,20}[a-z0-9])?", fullmatch=True)
_proxies = st.builds(
    Proxy,
    st.sampled_from(SCHEMES),
    st.one_of(_hosts, st.ip_addresses().map(str)),
    st.integers(1, 65535),
) | st.builds(
    Proxy,
    st.sampled_from(SCHEMES),
    st.one_of(_hosts, st.ip_addresses().map(str)),
    st.integers(1, 65535),
    _credentials,
    _credentials,
)


@settings(deadline=None)
@given(_proxies)
def test_a_member_is_read_as_the_proxy_it_was_made_of(proxy: Proxy) -> None:
    assert parse_proxy(proxy.member) == proxy


@settings(deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_a_proxy_or_a_proxy_error(text: str) -> None:
    try:
        proxy = parse_proxy(text)
    except ProxyError:
        return
    assert proxy.url.isascii()
    assert 1 <= proxy.port <= 65535


@settings(deadline=None)
@given(
    st.sampled_from(["", "http://", "socks5://", "ftp://"]),
    st.text("abc:/@?#% \t", max_size=8),
    st.sampled_from(["h:x", "h:0", "h:1:2", "h h", "[h]"]),
)
def test_no_password_before_the_last_at_sign_gets_out(scheme: str, noise: str, tail: str) -> None:
    with pytest.raises(ProxyError) as caught:
        parse_proxy(f"{scheme}user:{noise}s3cret{noise}@{tail}")
    assert "s3cret" not in str(caught.value)


# Each row's answer is that of curl 7.88 with the text as its http_proxy.
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.9", Proxy("http", "127.0.0.9", 1080)),
        ("http://127.0.0.9", Proxy("http", "127.0.0.9", 1080)),
        ("https://127.0.0.9", Proxy("https", "127.0.0.9", 443)),
        ("https://127.0.0.9:8443/", Proxy("https", "127.0.0.9", 8443)),
        ("socks://127.0.0.9", Proxy("socks4", "127.0.0.9", 1080)),
        ("SOCKS://127.0.0.9:4/", Proxy("socks4", "127.0.0.9", 4)),
        ("socks4a://h:1", Proxy("socks4a", "h", 1)),
        ("socks5://h", Proxy("socks5", "h", 1080)),
        ("socks5h://127.0.0.9/x/y?z", Proxy("socks5h", "127.0.0.9", 1080)),
        ("http://127.0.0.9:3/path", Proxy("http", "127.0.0.9", 3)),
        ("h:3#x", Proxy("http", "h", 3)),
        ("u:p%40@127.0.0.9:3", Proxy("http", "127.0.0.9", 3, "u", "p@")),
        ("socks://u@[::1]:7/", Proxy("socks4", "::1", 7, "u", "")),
        (" http://h:3\n", Proxy("http", "h", 3)),
    ],
)
def test_a_proxy_is_read_as_curl_reads_it(text: str, expected: Proxy) -> None:
    assert parse_as_curl(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("vmess://h:5", "h:", "//h:3", "http:h:3", "", "/", "http://", "sock://h:1"),
        *("h:x/y", "http://u:s3cret@h:x", "http://u:s3cret@h:x/y", "socks5:h:1"),
    ],
)
def test_what_curl_cannot_read_is_refused_without_its_password(text: str) -> None:
    with pytest.raises(ProxyError) as caught:
        parse_as_curl(text)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        *((word, None) for word in (*WORDS, "squid", "envoy", "proxy", "p00l", "", "pol:8080")),
        *(("pol", "pool"), ("Pool", "pool"), ("dirct", "direct"), ("ENV", "env")),
        *(("directtt", "direct"), ("directtttt", None), ("direct" * 1000, None)),
    ],
)
def test_a_misspelt_word_is_known_and_a_host_is_one(text: str, meant: str | None) -> None:
    assert find_meant(text) == meant
