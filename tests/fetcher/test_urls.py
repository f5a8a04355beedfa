import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fetcher.errors import TaskError
from fetcher.urls import MAX_URL, fit_url, join_location, loggable, origin_of

FIT = [
    "http://h",
    "http://h/",
    "https://example.com:8443/a/b?c=d&e=%20#f",
    "http://EXAMPLE.com/~a|b[1]?x[]=1",
    "http://my_host-1:9999/",
    "http://h:65535/",
    "http://h//x",
    "http://h?a",
    "http://h#f",
    "http://127.0.0.1:1/",
    "http://[::1]:80/",
    "http://[fe80::1%25eth0]/",
    "http://user:p%40ss@h/",
]


@pytest.mark.parametrize("url", FIT)
def test_what_is_fit_stays_as_it_is(url: str) -> None:
    assert fit_url(url) == url


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("h", "http://h"),
        ("h/x", "http://h/x"),
        ("//h/x", "http://h/x"),
        ("localhost:8080/x", "http://localhost:8080/x"),
        ("HTTP://H/", "http://h/"),
        ("Https://h/", "https://h/"),
        (" \thttp://h/ \r\n", "http://h/"),
        ("http://h/a b", "http://h/a%20b"),
        ("http://h/中?q=é#ü", "http://h/%E4%B8%AD?q=%C3%A9#%C3%BC"),
        ("http://h/%zz%", "http://h/%zz%"),
        ('http://h/<"{}^`\\>', "http://h/%3C%22%7B%7D%5E%60%5C%3E"),
        ("http://bücher.example/", "http://xn--bcher-kva.example/"),
        ("http://BÜCHER.example:81/", "http://xn--bcher-kva.example:81/"),
        ("http://例え。jp/", "http://xn--r8jz45g.jp/"),
        ("http://ⅰⅱ.example/", "http://iii.example/"),
        ("http://h:080/", "http://h:80/"),
        ("http://h:/x", "http://h/x"),
        ("http://u:p w@h/", "http://u:p%20w@h/"),
        ("http://ü@h/", "http://%C3%BC@h/"),
        ("http://a@b@h/", "http://a@b@h/"),
        ("http://u\\@h/", "http://u%5C@h/"),
        # libcurl would decode these itself, behind the back of everything that judges hosts.
        ("http://127%2e0%2E0.1/", "http://127.0.0.1/"),
        ("http://b%C3%BCcher.example/", "http://xn--bcher-kva.example/"),
        ("http://\uff11\uff12\uff17.0.0.1/", "http://127.0.0.1/"),
        ("http://[FE80::A%Eth0]/", "http://[fe80::a%Eth0]/"),
    ],
)
def test_urls_are_made_fit_as_browsers_do(url: str, expected: str) -> None:
    assert fit_url(url) == expected
    assert fit_url(expected) == expected


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "no host"),
        ("http://", "no host"),
        ("http:///x", "no host"),
        ("http://:80/", "no host"),
        ("http://u:p@/", "no host"),
        ("http://h:65536/", "malformed"),
        ("http://h:x/", "malformed"),
        ("http://h:-1/", "malformed"),
        ("http://a:b:c/", "malformed"),
        ("http://[::1/", "malformed"),
        ("http://[[[/", "malformed"),
        ("http://[1.2.3.4]/", "malformed"),
        ("http://[v1.x]/", "brackets"),
        ("http://[fe80::1%é]/", "brackets"),
        ("http://[fe80::1% a]/", "brackets"),
        ("http://h\n/", "control"),
        ("http://h/a\x00b", "control"),
        ("http://h/\x7f", "control"),
        ("http://h/\ud800", "control"),
        ("http://h\x85.com/", "no domain name"),
        ("http://-é.com/", "no domain name"),
        ("http://%ff.com/", "no domain name"),
        ("http://a b.com/", "characters that no domain name has"),
        ("http://a%20b.com/", "characters that no domain name has"),
        ("http://a%2fb.com/", "characters that no domain name has"),
        ("http://a%00.com/", "characters that no domain name has"),
        ("http://127.0.0.1\\.example.com/", "characters that no domain name has"),
        ("http://a<b/", "characters that no domain name has"),
        ("ftp://h/", "Protocol 'ftp' is not enabled: expected one of http, https"),
        ("FILE:///etc/passwd", "Protocol 'file'"),
        ("gopher://h/", "Protocol 'gopher'"),
    ],
)
def test_what_cannot_be_fetched_is_refused_in_words(url: str, words: str) -> None:
    with pytest.raises(TaskError, match=re.escape(words)):
        fit_url(url)


def test_schemes_are_enabled_by_the_caller() -> None:
    assert fit_url("ftp://h/x", ("http", "https", "ftp")) == "ftp://h/x"
    with pytest.raises(TaskError, match="Protocol 'http'"):
        fit_url("http://h/", ("https",))


@pytest.mark.parametrize("url", ["http://u:s3cret/x@h/", "http://u:s3cret℀@h/", "u:s3cret?@h"])
def test_a_refusal_never_repeats_the_password(url: str) -> None:
    with pytest.raises(TaskError) as caught:
        fit_url(url)
    assert "s3cret" not in str(caught.value)
    assert "s3cret" not in loggable(url)


@pytest.mark.parametrize(("more", "fits"), [(-1, True), (0, True), (1, False)])
def test_a_url_has_a_limit(more: int, fits: bool) -> None:
    url = "http://h/".ljust(MAX_URL + more, "x")
    if fits:
        assert fit_url(url) == url
    else:
        with pytest.raises(TaskError, match=f"has {MAX_URL + 1} characters: at most {MAX_URL}"):
            fit_url(url)


@pytest.mark.parametrize(("more", "fits"), [(-1, True), (0, True), (1, False)])
def test_the_limit_holds_for_what_is_sent_too(more: int, fits: bool) -> None:
    url = "http://h/" + "é" * 3 + "x" * (MAX_URL - 9 - 18 + more)
    if fits:
        assert len(fit_url(url)) == MAX_URL + more
    else:
        with pytest.raises(TaskError, match="at most"):
            fit_url(url)


pieces = st.sampled_from(
    [
        *"/:?#@[]%.\\ &=é中\u0130\u2488\uff05\u3002",
        "http://",
        "//",
        "h",
        "a.b",
        "%2e",
        "%ff",
        "::1",
        "80",
        "xn--a",
    ]
)
urls = st.one_of(
    st.text(max_size=40),
    st.lists(pieces | st.characters(), max_size=14).map("".join),
    st.lists(pieces | st.characters(), max_size=14).map(lambda parts: "https://" + "".join(parts)),
)


def test_every_port_there_is_may_be_named() -> None:
    for port in range(65536):
        url = f"http://h:{port}/"
        assert fit_url(url) == url
    for port in (65536, 65540, 65600, 66000, 70000, 99999, 100000):
        with pytest.raises(TaskError, match="malformed"):
            fit_url(f"http://h:{port}/")


@settings(deadline=None, max_examples=500)
@given(urls)
@example("http://[fe80::1%é]/")
@example("http://h/\ud800")
def test_a_fit_url_is_ascii_has_a_host_and_is_not_changed_again(url: str) -> None:
    try:
        fit = fit_url(url)
    except TaskError:
        return
    assert fit.isascii() and not re.search(r"[\x00-\x20\x7f]", fit)
    assert fit_url(fit) == fit
    scheme, host, port = origin_of(fit)
    assert scheme in ("http", "https") and host and 0 <= port <= 65535


@pytest.mark.parametrize(
    ("base", "location", "expected"),
    [
        ("http://h/a/b", b"c", "http://h/a/c"),
        ("http://h/a/b", b"/c", "http://h/c"),
        ("http://h/a/b", b"../../c", "http://h/c"),
        ("http://h/a/b", b"?q", "http://h/a/b?q"),
        ("http://h/a", b"//o/c", "http://o/c"),
        ("https://h/a", b"//o/c", "https://o/c"),
        ("http://h/a", b"https://o:81/c", "https://o:81/c"),
        ("http://h/a", b" \thttps://o/ ", "https://o/"),
        ("http://h/a", "/中".encode(), "http://h/%E4%B8%AD"),
        ("http://h/a", b"/\xe9", "http://h/%C3%A9"),
        ("http://h/a", b"/a b", "http://h/a%20b"),
        ("http://h/a", "http://bücher.example/".encode(), "http://xn--bcher-kva.example/"),
        ("http://h/a#old", b"/c", "http://h/c#old"),
        ("http://h/a#old", b"/c#new", "http://h/c#new"),
        ("http://h/a#old", b"/c#", "http://h/c"),
        ("http://u:p@h/a", b"/c", "http://u:p@h/c"),
        ("http://u:p@h/a", b"http://h/c", "http://h/c"),
        ("http://h/a", b"http:c", "http://h/c"),
    ],
)
def test_a_location_leads_where_a_browser_would_go(
    base: str, location: bytes, expected: str
) -> None:
    assert join_location(base, location) == expected


@pytest.mark.parametrize(
    ("location", "words"),
    [
        (b"file:///etc/passwd", "Protocol 'file' is not enabled"),
        (b"ftp://h/", "Protocol 'ftp' is not enabled"),
        (b"data:text/html,x", "Protocol 'data' is not enabled"),
        (b"javascript:alert(1)", "Protocol 'javascript' is not enabled"),
        (b"mailto:a@example.com", "Protocol 'mailto' is not enabled"),
        (b"tel:123", "Protocol 'tel' is not enabled"),
        (b"https:c", "Protocol 'https' is not enabled: expected one of http, https"),
        (b"http://[::1", "the Location cannot be read"),
        (b"http://h:99999/", "malformed"),
        (b"/\x00", "control"),
    ],
)
def test_a_location_that_leads_nowhere_we_go_is_refused(location: bytes, words: str) -> None:
    with pytest.raises(TaskError, match=re.escape(words)):
        join_location("http://h/a", location)


@settings(deadline=None)
@given(st.sampled_from(FIT), st.binary(max_size=40))
def test_any_location_is_a_fit_url_or_refused(base: str, location: bytes) -> None:
    try:
        url = join_location(base, location)
    except TaskError:
        return
    assert fit_url(url) == url and url.isascii()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://h/", ("http", "h", 80)),
        ("https://H:444/", ("https", "h", 444)),
        ("https://u:p@h", ("https", "h", 443)),
        ("http://[::1]:8080/", ("http", "::1", 8080)),
        ("http://h:0/", ("http", "h", 0)),
    ],
)
def test_an_origin_is_scheme_host_and_port(url: str, expected: tuple[str, str, int]) -> None:
    assert origin_of(url) == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://u:p@h/x", "http://h/x"),
        ("http://u:p@h:80", "http://h:80"),
        ("http://u:p@ss@h/x?a@b", "http://h/x?a@b"),
        ("http://u:p@[::1]:80/x", "http://[::1]:80/x"),
        ("http://h/@user", "http://h/@user"),
        ("http://h?a@b", "http://h?a@b"),
        ("http://h#a@b", "http://h#a@b"),
        ("h/x", "h/x"),
        ("u:p@h/x", "h/x"),
        ("http://u:p/q@h/", "http://***"),
        ("u:p/q@h/", "***"),
        ("data:,a@b", "data:,a@b"),
        ("DATA:text/html,http://u:p@h", "DATA:text/html,http://u:p@h"),
        ("", ""),
    ],
)
def test_logs_see_no_userinfo(url: str, expected: str) -> None:
    assert loggable(url) == expected


@settings(deadline=None)
@given(
    st.sampled_from(["http://", "https://", ""]),
    st.text("ab:@%!$&'()*+,;= \\", max_size=8),
    st.sampled_from(["h", "h:80/", "[::1]/x?y", "h/@x"]),
)
def test_whatever_is_before_the_host_is_not_logged(scheme: str, noise: str, rest: str) -> None:
    assert "s3cret" not in loggable(f"{scheme}u:{noise}s3cret{noise}@{rest}")
