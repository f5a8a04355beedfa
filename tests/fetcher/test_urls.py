import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fetcher.errors import TaskError
from fetcher.urls import MAX_URL, fit_url, join_location, loggable, origin_of

FIT = [
    "http://h/",
    "https://example.com:8443/a/b?c=d&e=%20#f",
    "http://example.com/~a|b[1]?x[]=1",
    "http://my_host-1:9999/",
    "http://h:65535/",
    "http://h//x",
    "http://h/?a",
    "http://h/?",
    "http://h/#",
    "http://h/a?x=/../y&z=.%2e",
    "http://h/.a/..b/...",
    "http://h/a.%2e",
    "http://h/?{}|^`[]\\",
    "http://127.0.0.1:1/",
    "http://255.10.199.0/",
    "http://163.com/",
    "http://1.2.3.4a/",
    "http://h./",
    "http://a..b/",
    "http://[::1]:81/",
    "http://[2001:db8::a]/",
    "http://user:p%40ss@h/",
    "http://xn--bcher-kva.example/",
    "http://xn--0/",  # ASCII is not looked into
    "http://hg--69.imgbb.com/",
    "http://mediaworld_it_api2.frosmo.com/",
]


@pytest.mark.parametrize("url", FIT)
def test_what_is_fit_stays_as_it_is(url: str) -> None:
    assert fit_url(url) == url


# What a typed URL means: the paragraph of the URL standard (url.spec.whatwg.org, 2026), and where
# nothing else is said Chromium 156 has given the same answer (`new URL(...).href`).
READ = [
    # 4.4, step 1: blanks and control characters at both ends; step 3: tabs and line ends anywhere.
    (" \thttp://h/ \r\n", "http://h/"),
    ("\x01\x1f http://h/\x00", "http://h/"),
    ("ht\ntp://h\t/a\r\nb", "http://h/ab"),
    ("http://127.0\t.0.1\n:8\r0/", "http://127.0.0.1/"),
    # 4.4, scheme state: in any case.
    ("HTTP://H/", "http://h/"),
    ("Https://h/", "https://h/"),
    # 4.4, special authority (ignore) slashes state: any number of them, and backslashes too.
    ("http:h/x", "http://h/x"),
    ("http:/h/x", "http://h/x"),
    ("http:///h/x", "http://h/x"),
    ("http:\\\\h\\x", "http://h/x"),
    ("https:/\\/\\h", "https://h/"),
    # 4.4, authority state: the last "@" ends the userinfo; what ends the authority ends that first.
    ("http://a@b@h/", "http://a%40b@h/"),
    ("http://me@mail.com:pw@h/", "http://me%40mail.com:pw@h/"),
    ("http://a:b:c@h/", "http://a:b%3Ac@h/"),
    ("http://u:p w@h/", "http://u:p%20w@h/"),
    ("http://ü@h/", "http://%C3%BC@h/"),
    ("http://@h/", "http://h/"),
    ("http://u:@h/", "http://u@h/"),
    ("http://u\\@h/", "http://u/@h/"),
    ("http://127.0.0.1\\.example.com/", "http://127.0.0.1/.example.com/"),
    ("http://good.example\\@evil.example/", "http://good.example/@evil.example/"),
    ("http://good.example#@evil.example/", "http://good.example/#@evil.example/"),
    ("http://good.example?@evil.example/", "http://good.example/?@evil.example/"),
    # 4.4, port state: leading zeros, the default, none behind the colon.
    ("http://h:080/", "http://h/"),
    ("https://h:443/", "https://h/"),
    ("http://h:443/", "http://h:443/"),
    ("http://h:/x", "http://h/x"),
    ("http://h:0/", "http://h:0/"),
    # 3.5, host parsing: percent-decoded, then UTS 46 (not IDNA 2008), lower case.
    ("http://EXAMPLE.com/", "http://example.com/"),
    ("http://ex%41mple.com/", "http://example.com/"),
    ("http://bücher.example/", "http://xn--bcher-kva.example/"),
    ("http://b%C3%BCcher.example/", "http://xn--bcher-kva.example/"),
    ("http://BÜCHER.example:81/", "http://xn--bcher-kva.example:81/"),
    ("http://例え。jp/", "http://xn--r8jz45g.jp/"),
    ("http://ⅰⅱ.example/", "http://iii.example/"),
    ("http://straße.de/", "http://xn--strae-oqa.de/"),
    ("http://i❤.ws/", "http://xn--i-7iq.ws/"),
    ("http://☕.us/", "http://xn--53h.us/"),
    ("http://my_bücher.example/", "http://xn--my_bcher-95a.example/"),
    ("http://a\u00adb\u200b.example/", "http://ab.example/"),
    ("http://-é.com/", "http://xn----bga.com/"),
    # 3.5, IPv4 parser: a last label that is a number makes it an address.
    ("http://0x7f.1/", "http://127.0.0.1/"),
    ("http://0177.0.0.1/", "http://127.0.0.1/"),
    ("http://2130706433/", "http://127.0.0.1/"),
    ("http://127.1/", "http://127.0.0.1/"),
    ("http://127.0.0.1./", "http://127.0.0.1/"),
    ("http://0/", "http://0.0.0.0/"),
    ("http://127%2e0%2E0.1/", "http://127.0.0.1/"),
    ("http://\uff11\uff12\uff17.0.0.1/", "http://127.0.0.1/"),
    ("http://127\u30020\uff0e0\u30021/", "http://127.0.0.1/"),
    # 3.5, IPv6 parser and serializer.
    ("http://[0:0::1]:80/", "http://[::1]/"),
    ("http://[::ffff:127.0.0.1]/", "http://[::ffff:7f00:1]/"),
    ("http://[2001:DB8::A]/", "http://[2001:db8::a]/"),
    # 4.4, path state: dot segments, backslashes, what is encoded; empty segments stay.
    ("http://h", "http://h/"),
    ("http://h/a/./b/../c", "http://h/a/c"),
    ("http://h/%2e%2E/a/.%2e/b/%2e", "http://h/b/"),
    ("http://h/../../a", "http://h/a"),
    ("http://h\\img\\logo.gif", "http://h/img/logo.gif"),
    ("http://h/a\\..\\b", "http://h/b"),
    ("http://h//a//b//", "http://h//a//b//"),
    ("http://h/web/2020/http://site/y", "http://h/web/2020/http://site/y"),
    ("http://h/a b", "http://h/a%20b"),
    ("http://h/%zz%", "http://h/%zz%"),
    ("http://h/a%5cb", "http://h/a%5cb"),
    ("http://h/<\"{}^`>'", "http://h/%3C%22%7B%7D%5E%60%3E'"),
    ("http://h/a\x00b\x7f\x85", "http://h/a%00b%7F%C2%85"),
    ("http://h/中?q=é#ü", "http://h/%E4%B8%AD?q=%C3%A9#%C3%BC"),
    # 4.4, query and fragment state: empty ones stay; "\" is no slash there, and "'" is encoded.
    ("http://h?", "http://h/?"),
    ("http://h/é?", "http://h/%C3%A9?"),
    ("http://h#", "http://h/#"),
    ("http://h?a#b", "http://h/?a#b"),
    ("http://h/x?a=\\b'\"<>{}", "http://h/x?a=\\b%27%22%3C%3E{}"),
    ("http://h/x# `\\", "http://h/x#%20%60\\"),
    # No standard's: what people type without a scheme is taken for http.
    ("h", "http://h/"),
    ("h/x", "http://h/x"),
    ("//h/x", "http://h/x"),
    ("\\\\h\\x", "http://h/x"),
    ("localhost:8080/x", "http://localhost:8080/x"),
    ("u:p@h/", "http://u:p@h/"),
]


@pytest.mark.parametrize(("url", "expected"), READ)
def test_urls_are_read_as_browsers_read_them(url: str, expected: str) -> None:
    assert fit_url(url) == expected
    assert fit_url(expected) == expected


# Refused by the URL standard (3.5, 4.4) and Chromium 156; below the line by libcurl alone.
REFUSED = [
    ("", "names no host"),
    ("http://", "names no host"),
    ("http:", "names no host"),
    ("http://:80/", "names no host"),
    ("http://u:p@/", "names no host"),
    ("http://?a", "names no host"),
    ("http://h:65536/", "port is no number up to 65535"),
    ("http://h:99999/", "port is no number up to 65535"),
    ("http://h:x/", "port is no number"),
    ("http://h:-1/", "port is no number"),
    ("http://h:8 0/", "port is no number"),
    ("http://[::1]:x/", "port is no number"),
    ("http://a:b:c/", "its host is neither a domain name nor an address"),
    ("http://[::1/", "brackets"),
    ("http://[[[/", "brackets"),
    ("http://[1.2.3.4]/", "brackets"),
    ("http://[v1.x]/", "brackets"),
    ("http://[fe80::1%25eth0]/", "brackets"),
    ("http://[fe80::1%é]/", "brackets"),
    ("http://::1/", "neither a domain name nor an address"),
    ("http://h/\ud800", "contains half a character"),
    ("http://a b.com/", "the host 'a b.com' has a blank in it"),
    ("http://h\x85.com/", "neither a domain name nor an address"),
    ("http://%ff.com/", "neither a domain name nor an address"),
    ("http://a%20b.com/", "the host 'a%20b.com' is neither a domain name nor an address"),
    ("http://a%2fb.com/", "neither a domain name nor an address"),
    ("http://a%00.com/", "neither a domain name nor an address"),
    ("http://a℀b/", "neither a domain name nor an address"),
    ("http://a<b/", "neither a domain name nor an address"),
    ("http://1.2.3.4.5/", "the host '1.2.3.4.5' is neither a domain name nor an address"),
    ("http://256.1.1.1/", "neither a domain name nor an address"),
    ("http://09.1.1.1/", "neither a domain name nor an address"),
    ("http://a.b.0x1/", "neither a domain name nor an address"),
    ("http://4294967296/", "neither a domain name nor an address"),
    ("http://xn--é/", "neither a domain name nor an address"),
    ("ftp://h/", "Protocol 'ftp' is not enabled: expected one of http, https"),
    ("fTp:\\h", "Protocol 'ftp' is not enabled"),
    ("FILE:///etc/passwd", "Protocol 'file'"),
    ("\x00file:/etc/passwd", "Protocol 'file'"),
    ("f\tile:///etc/passwd", "Protocol 'file'"),
    ("gopher://h/", "Protocol 'gopher'"),
    # --
    ("http://a+b/", "no domain name is spelled so"),
    ("http://a'b/", "no domain name is spelled so"),
    ("http://a;b/", "no domain name is spelled so"),
    ("http://./", "no domain name is spelled so"),
    ("http://a../", "no domain name is spelled so"),
    ("http://127.0.0.1../", "no domain name is spelled so"),
]


@pytest.mark.parametrize(("url", "words"), REFUSED)
def test_what_cannot_be_fetched_is_refused_in_words(url: str, words: str) -> None:
    with pytest.raises(TaskError, match=re.escape(words)):
        fit_url(url)


def test_schemes_are_enabled_by_the_caller() -> None:
    assert fit_url("file:/x", ("file",)) == "file:///x"
    with pytest.raises(TaskError, match="a file of this machine is file:///path"):
        fit_url("file://h:80/x", ("file",))
    assert fit_url("ftp://h/x", ("http", "https", "ftp")) == "ftp://h/x"
    assert fit_url("http://h/x", ("ftp", "https", "http")) == "http://h/x"
    with pytest.raises(TaskError, match="Protocol 'http'"):
        fit_url("http://h/", ("https",))


@pytest.mark.parametrize(
    "url",
    [
        "http://u:s3cret/x@h/",
        "http://u:s3cret℀@h:x/",
        "http://u:s3cret@a b/",
        "http:/u:s3cret@a<b/",
        "http:\\\\u:s3cret@[h/",
        "http://u:s3cret@1.2.3.4.5/",
        "http://u:s3cret:1.2.3.4:80/",
        "https:u:s3cret@h:99999",
        "//u:s3cret@a b/",
        "ftp:u:s3cret@h",
        "u:s3cret?@h",
    ],
)
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
        assert fit_url(url) == ("http://h/" if port == 80 else url)
    for port in (65536, 65540, 65600, 66000, 70000, 99999, 100000):
        with pytest.raises(TaskError, match="port"):
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
        # Chromium 156: of bytes that are no UTF-8 each is encoded; the standard has no say.
        ("http://h/a", "/中".encode(), "http://h/%E4%B8%AD"),
        ("http://h/a", "/新闻/".encode("gbk") + b"a.html", "http://h/%D0%C2%CE%C5/a.html"),
        ("http://h/a", b"/\xe9", "http://h/%E9"),
        ("http://h/a", b"/\xe9?\xe9#\xe9", "http://h/%E9?%E9#%E9"),
        ("http://h/a", "/é".encode() + b"\xe9", "http://h/%C3%A9%E9"),
        ("http://h/a", b"/a b", "http://h/a%20b"),
        ("http://h/a", "http://bücher.example/".encode(), "http://xn--bcher-kva.example/"),
        ("http://h/a", "http://☕.us".encode(), "http://xn--53h.us/"),
        # 4.4, relative (slash) state: base with a special scheme.
        ("http://h/a", b"/login?", "http://h/login?"),
        ("http://h/a", b"/x?#top", "http://h/x?#top"),
        ("http://h/a?x=1", b"?", "http://h/a?"),
        ("http://h/a?x=1", b"#f", "http://h/a?x=1#f"),
        ("http://h/a", b"/web/2020/http://site/y", "http://h/web/2020/http://site/y"),
        ("http://h/a", b"//o//c", "http://o//c"),
        ("http://h/a/", b".//c", "http://h/a//c"),
        ("http://h/a/b", b"\\news\\1.html", "http://h/news/1.html"),
        ("http://h/a/b", b"..\\c\\d?e\\f", "http://h/c/d?e\\f"),
        ("http://h/a", b"\\\\o\\c", "http://o/c"),
        ("http://h/a", b"/\\o/c", "http://o/c"),
        ("http://h/a", b"http://o\\c", "http://o/c"),
        ("http://h/a", b"/a\tb\\c\x00", "http://h/ab/c"),
        ("http://h/a", b"/a\x00b", "http://h/a%00b"),
        ("http://h/a", b"http:c", "http://h/c"),
        ("http://h/a", b"http:/o/c", "http://h/o/c"),
        ("https://h/a", b"http:/o/c", "http://o/c"),
        ("http://h/a", b"https:c", "https://c/"),
        ("http://h/a", b"http:///o/c", "http://o/c"),
        ("http://h/a", b"///o/c", "http://o/c"),
        ("http://h/a", b"http://0x7f.1/", "http://127.0.0.1/"),
        ("http://h/a", b"http://me@mail.com:pw@o/", "http://me%40mail.com:pw@o/"),
        # Fetch standard, "location URL": the fragment goes on where Location has none.
        ("http://h/a#old", b"/c", "http://h/c#old"),
        ("http://h/a#old", b"/c ", "http://h/c#old"),
        ("http://h/a#old", b"/c#new", "http://h/c#new"),
        ("http://h/a#old", b"/c#", "http://h/c#"),
        ("http://u:p@h/a", b"/c", "http://u:p@h/c"),
        ("http://u:p@h/a", b"http://h/c", "http://h/c"),
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
        (b"foo:/bar", "Protocol 'foo' is not enabled: expected one of http, https"),
        (b"http://[::1", "the Location cannot be followed: the host in brackets"),
        (b"http://h:99999/", "the Location cannot be followed: its port"),
        (b"//a b/", "the Location cannot be followed: the host 'a b' has a blank"),
        (b"http://\xe9.com/", "the Location cannot be followed: the host '%E9.com' is neither"),
        (b"http://a+b/", "no domain name is spelled so"),
    ],
)
def test_a_location_that_leads_nowhere_we_go_is_refused(location: bytes, words: str) -> None:
    with pytest.raises(TaskError, match=re.escape(words)):
        join_location("http://h/a", location)


@pytest.mark.parametrize(("more", "fits"), [(-1, True), (0, True), (1, False)])
@pytest.mark.parametrize(
    ("base", "location"), [("http://h/", b"/"), ("http://h/#fff", b"/"), ("http://h/", b"/\xff")]
)
def test_the_limit_holds_for_a_location(base: str, location: bytes, more: int, fits: bool) -> None:
    room = MAX_URL - len(join_location(base, location)) + more
    location += b"x" * room
    if fits:
        assert len(join_location(base, location)) == MAX_URL + more
    else:
        with pytest.raises(TaskError, match="at most"):
            join_location(base, location)


def test_more_than_a_url_may_have_is_not_read_at_all() -> None:
    with pytest.raises(TaskError, match=f"has {MAX_URL + 2} characters"):
        join_location("http://h/", b"/" + b"./" * (MAX_URL // 2) + b"x")


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
        ("https://h:444/", ("https", "h", 444)),
        ("https://u:p@h/", ("https", "h", 443)),
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
        ("u:/p@h/", "u:/h/"),
        ("http://u:/p@h/", "http://***"),
        ("http://u:\\p@h/", "http://***"),
        ("http://u@\\p@h/", "http://***"),
        ("http://h:/p", "http://h:/p"),
        ("http:/u:p@h/x", "http:/h/x"),
        ("http:u:p@h/x", "http:h/x"),
        ("http:\\\\u:p@h\\x", "http:\\\\h\\x"),
        ("ht\ntp://u:p@h/", "http://h/"),
        (" \x01http://u:p@h/", "http://h/"),
        ("//u:p@h/x", "//h/x"),
        ("file:///a/b@c", "file:///a/b@c"),
        ("http://h:80/@x", "http://h:80/@x"),
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
    st.text("ab:@%!$&'()*+,;= \t\n", max_size=8),
    st.sampled_from(["h", "h:80/", "[::1]/x?y", "h/@x"]),
)
def test_whatever_is_before_the_host_is_not_logged(scheme: str, noise: str, rest: str) -> None:
    assert "s3cret" not in loggable(f"{scheme}u:{noise}s3cret{noise}@{rest}")
