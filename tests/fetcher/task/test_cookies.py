import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fetcher.model import Cookies
from fetcher.task.cookies import MAX_COOKIE_BYTES, MAX_COOKIES, TaskCookies, site_of

NOW = 1_700_000_000.0  # 2023-11-14
URL = "http://www.example.com/a/b"


def head(*cookies: str | bytes) -> bytes:
    lines = [c.encode() if isinstance(c, str) else c for c in cookies]
    return b"HTTP/1.1 200 OK\r\n" + b"".join(b"Set-Cookie: %b\r\n" % c for c in lines) + b"\r\n"


def learned(*cookies: str | bytes, url: str = URL, own: Cookies | None = None) -> TaskCookies:
    jar = TaskCookies(own, url)
    jar.learn(url, head(*cookies), NOW)
    return jar


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://example.com/", "example.com"),
        ("https://a.b.example.com:81/x", "example.com"),
        ("http://EXAMPLE.com./", "example.com"),
        ("http://a.example.co.uk/", "example.co.uk"),
        ("http://co.uk/", "co.uk"),
        ("http://github.io/", "github.io"),
        ("http://a.github.io/", "a.github.io"),
        ("http://b.a.github.io/", "a.github.io"),
        ("http://x.unknown-tld/", "x.unknown-tld"),
        ("http://xn--80ak6aa92e.xn--p1ai/", "xn--80ak6aa92e.xn--p1ai"),
        ("http://localhost:80/", "localhost"),
        ("http://127.0.0.1/", "127.0.0.1"),
        ("http://0x7f.1/", "127.0.0.1"),
        ("http://1.0.0.127/", "1.0.0.127"),
        ("http://[::1]:80/", "::1"),
        ("http://u:p@www.example.com/", "example.com"),
        ("data:,", ""),
    ],
)
def test_a_site_is_the_registrable_domain(url: str, expected: str) -> None:
    assert site_of(url) == expected


# 1. The task's own cookies.

ODD = 'a=b; j={"x":1};  z = 9;; =q; a=c;flag'


@pytest.mark.parametrize("header", [ODD, "a", ";", "a=\udcff\udce9", "é=中", " "])
def test_a_cookie_header_goes_out_byte_for_byte_while_it_is_alone(header: str) -> None:
    raw = header.encode("utf-8", "surrogateescape")
    assert TaskCookies(Cookies(header), URL).header(URL, NOW) == raw
    elsewhere = learned("x=1; Path=/other", own=Cookies(header))
    assert elsewhere.header(URL, NOW) == raw


def test_nothing_to_say_is_no_header() -> None:
    assert TaskCookies(None, URL).header(URL, NOW) is None
    assert TaskCookies(Cookies("", {}), URL).header(URL, NOW) is None
    assert TaskCookies(Cookies("a=b"), URL).header("http://other.org/", NOW) is None


@pytest.mark.parametrize(
    ("own", "cookies", "expected"),
    [
        (Cookies("a=b", {"c": "d"}), [], b"a=b; c=d"),
        (Cookies("a=b; x=y", {"a": "d"}), [], b"x=y; a=d"),
        (Cookies(ODD, {"n": ""}), [], b'a=b; j={"x":1}; z = 9; =q; a=c; flag; n='),
        (Cookies("a=b"), ["k=v"], b"a=b; k=v"),
        (Cookies("a=b; c=d"), ["a=new"], b"c=d; a=new"),
        (Cookies("a =b; c=d"), ["a=new"], b"c=d; a=new"),
        (Cookies("", {"a": "b", "c": "d"}), ["a=new"], b"c=d; a=new"),
        (Cookies("a=1", {"a": "2"}), ["a=3"], b"a=3"),
        (Cookies("", {"a": "\udcff"}), ["b=1"], b"a=\xff; b=1"),
        (Cookies("a=b; c=d"), ["a=gone; Max-Age=0"], b"c=d"),
        (Cookies("a=b"), ["a=gone; Max-Age=0"], None),
        (Cookies("", {"a": "b"}), ["a=gone; Max-Age=0", "a=back"], b"a=back"),
        (Cookies("a=b"), ["a=elsewhere; Path=/x"], b"a=b"),
    ],
)
def test_a_server_cookie_replaces_a_task_cookie_of_that_name(
    own: Cookies, cookies: list[str], expected: bytes | None
) -> None:
    assert learned(*cookies, own=own).header(URL, NOW) == expected


@pytest.mark.parametrize(
    ("start", "then", "goes"),
    [
        ("http://www.example.com/", "http://www.example.com/x", True),
        ("http://www.example.com/", "http://example.com:81/", True),
        ("http://www.example.com/", "https://login.example.com/", True),
        ("https://www.example.com/", "https://example.com/", True),
        ("https://www.example.com/", "http://www.example.com/", False),
        ("HTTPS://www.example.com/", "http://www.example.com/", False),
        ("http://www.example.com/", "http://www.example.org/", False),
        ("http://www.example.com/", "http://example.com.evil.org/", False),
        ("http://www.example.com/", "http://notexample.com/", False),
        ("http://a.github.io/", "http://b.github.io/", False),
        ("http://a.co.uk/", "http://b.co.uk/", False),
        ("http://127.0.0.1/", "http://127.0.0.1:81/", True),
        ("http://127.0.0.1/", "http://127.0.0.2/", False),
        ("http://1.2.3.4/", "http://9.2.3.4/", False),
        ("http://localhost/", "http://localhost:1/", True),
        ("http://localhost/", "http://a.localhost/", False),
        ("http://[::1]/", "http://[::1]:8/", True),
        ("http://[::1]/", "http://[::2]/", False),
    ],
)
@pytest.mark.parametrize("own", [Cookies("a=b"), Cookies("", {"a": "b"})])
def test_a_tasks_cookies_stay_on_their_site_and_on_https(
    start: str, then: str, goes: bool, own: Cookies
) -> None:
    jar = TaskCookies(own, start)
    assert jar.header(start, NOW) == b"a=b"
    assert jar.header(then, NOW) == (b"a=b" if goes else None)


# 2. The server's cookies: RFC 6265.


@pytest.mark.parametrize(
    ("cookie", "expected"),
    [
        ("a=b", b"a=b"),
        (" a = b ; x", b"a=b"),
        ("a=b=c, d", b"a=b=c, d"),
        ('a="b c"', b'a="b c"'),
        ("a=", b"a="),
        ("a=b;", b"a=b"),
        ("é=中", "é=中".encode()),
        ("a=b; Version=1; Port=81; Comment", b"a=b"),
        ("a=b; HttpOnly; SameSite=Strict; Partitioned", b"a=b"),
        ("a=b; Path=/a; Path=/", b"a=b"),
        ("a=b; Domain=", b"a=b"),
        ("a=b; Domain=other.org; Domain=example.com", b"a=b"),
        ("a", None),
        ("", None),
        ("=b", None),
        (" =b", None),
        (";a=b", None),
        ("a=b\rX-Injected: c", b"a=b X-Injected: c"),  # RFC 9112 2.2: a bare CR is a space
        ("a\x00=b", None),
        ("a=b; Path=/\x7f", None),
        ("a=b\tc", b"a=b\tc"),
    ],
)
def test_a_set_cookie_line_is_read_as_rfc_6265_says(cookie: str, expected: bytes | None) -> None:
    assert learned(cookie).header(URL, NOW) == expected


@pytest.mark.parametrize(
    ("host", "domain", "goes_to", "stays_from"),
    [
        ("www.example.com", None, ["www.example.com"], ["example.com", "a.www.example.com"]),
        ("www.example.com", "example.com", ["www.example.com", "example.com", "x.example.com"],
         ["notexample.com", "example.com.evil.org"]),
        ("www.example.com", ".Example.COM", ["www.example.com", "example.com"], ["com"]),
        ("www.example.com", "www.example.com", ["www.example.com", "a.www.example.com"],
         ["example.com"]),
        ("www.example.com", "example.com.", ["www.example.com", "example.com"], []),
        ("www.example.com.", None, ["www.example.com"], ["x.www.example.com"]),
        ("www.example.com", "a.www.example.com", [], ["www.example.com", "a.www.example.com"]),
        ("www.example.com", "other.org", [], ["www.example.com", "other.org"]),
        ("www.example.com", "com", [], ["www.example.com", "other.com", "com"]),
        ("www.example.com", ".", ["www.example.com"], ["example.com"]),
        ("a.github.io", "github.io", [], ["a.github.io", "b.github.io", "github.io"]),
        ("github.io", "github.io", ["github.io"], ["a.github.io"]),
        ("a.co.uk", "co.uk", [], ["a.co.uk", "b.co.uk"]),
        ("localhost", "localhost", ["localhost"], ["a.localhost", "localhost.local"]),
        ("localhost", None, ["localhost"], ["localhost.local"]),
        ("intranet", ".intranet", ["intranet"], ["a.intranet"]),
        ("127.0.0.1", None, ["127.0.0.1"], ["127.0.0.2"]),
        ("127.0.0.1", "127.0.0.1", ["127.0.0.1"], ["1.127.0.0.1"]),
        ("1.2.3.4", "3.4", [], ["1.2.3.4", "9.9.3.4"]),
        ("1.2.3.4", ".2.3.4", [], ["1.2.3.4"]),
        ("x.1.2.3.4", "1.2.3.4", [], ["1.2.3.4", "x.1.2.3.4"]),
        ("xn--bcher-kva.test", "XN--bcher-kva.test", ["a.xn--bcher-kva.test"], ["test"]),
        ("xn--bcher-kva.test", "b\u00fccher.test", [], ["xn--bcher-kva.test"]),
        ("127.0.0.1", "0x7f.1", [], ["127.0.0.1"]),
        ("[::1]", None, ["[::1]"], ["[::2]"]),
        ("[::1]", "::1", ["[::1]"], ["[::2]"]),
    ],
)  # fmt: skip
def test_a_domain_attribute_reaches_its_domain_and_no_further(
    host: str, domain: str | None, goes_to: list[str], stays_from: list[str]
) -> None:
    line = "a=b" if domain is None else f"a=b; Domain={domain}"
    jar = learned(line, url=f"http://{host}/")
    for other in goes_to:
        assert jar.header(f"http://{other}/", NOW) == b"a=b", other
    for other in stays_from:
        assert jar.header(f"http://{other}/", NOW) is None, other


def test_userinfo_and_port_are_no_part_of_the_host() -> None:
    jar = learned("a=b", url="http://u:p@www.example.com:81/")
    assert jar.header("https://www.example.com/", NOW) == b"a=b"


@pytest.mark.parametrize(
    ("at", "path", "goes_to", "stays_from"),
    [
        ("/a/b", None, ["/a", "/a/", "/a/c", "/a/b/c"], ["/", "/ab", "/b"]),
        ("/a", None, ["/", "/a", "/b"], []),
        ("/", None, ["/", "/a/b"], []),
        ("", None, ["/", "/a"], []),
        ("/a/", None, ["/a", "/a/b"], ["/"]),
        ("/x", "/a", ["/a", "/a/b"], ["/", "/ab"]),
        ("/x", "/a/", ["/a/", "/a/b"], ["/a", "/"]),
        ("/x", "/", ["/", "/a"], []),
        ("/a/b", "relative", ["/a/c"], ["/", "/relative"]),
        ("/a/b", "", ["/a/c"], ["/"]),
        ("/a/b?c/d", None, ["/a?x"], ["/"]),
    ],
)
def test_a_path_reaches_what_is_below_it(
    at: str, path: str | None, goes_to: list[str], stays_from: list[str]
) -> None:
    line = "a=b" if path is None else f"a=b; Path={path}"
    jar = learned(line, url=f"http://h.example{at}")
    for other in goes_to:
        assert jar.header(f"http://h.example{other}", NOW) == b"a=b", other
    for other in stays_from:
        assert jar.header(f"http://h.example{other}", NOW) is None, other


@pytest.mark.parametrize(
    ("attributes", "lasts"),
    [
        ("", None),
        ("Max-Age=10", 10),
        ("max-age=1; Max-Age=10", 10),
        ("Max-Age=0", 0),
        ("Max-Age=-1", 0),
        ("Max-Age=x", None),
        ("Max-Age=1.5", None),
        ("Max-Age=", None),
        ("Max-Age=" + "9" * 8000, None),
        ("Max-Age=-" + "9" * 8000, 0),
        ("Expires=Tue, 14 Nov 2023 22:13:30 GMT", 10),
        ("Expires=Tue, 14-Nov-2023 22:13:30 GMT", 10),
        ("Expires=Tuesday, 14-Nov-23 22:13:30 GMT", 10),
        ("Expires=Tue Nov 14 22:13:30 2023", 10),
        ('Expires="Tue, 14 Nov 2023 22:13:30 GMT"', 10),
        ("Expires=Wed, 15 Nov 2023 00:13:30 +0200", 10),
        ("Expires=Thu, 01-Jan-1970 00:00:00 GMT", 0),
        ("Expires=Tue, 14 Nov 2023 22:13:20 GMT", 0),
        ("Expires=garbage", None),
        ("Expires=0", None),
        ("Expires=", None),
        ("Expires=Wed, 99 Nov 2023 22:13:30 GMT; Max-Age=10", 10),
        ("Expires=1 Jan 99999999999 00:00:00 GMT", None),
        ("Expires=Thu, 01-Jan-1970 00:00:00 GMT; Max-Age=10", 10),
        ("Expires=Tue, 14 Nov 2023 22:13:30 GMT; Max-Age=x", 10),
    ],
)
def test_a_cookie_lasts_as_long_as_it_says(attributes: str, lasts: int | None) -> None:
    jar = learned(f"a=b; {attributes}")
    if lasts is None:
        assert jar.header(URL, NOW + 1e9) == b"a=b"
    elif lasts == 0:
        assert jar.header(URL, NOW) is None and jar.public() == {}
    else:
        assert jar.header(URL, NOW + lasts - 1) == b"a=b"
        assert jar.header(URL, NOW + lasts) is None
        assert jar.header(URL, NOW + lasts + 1) is None


def test_a_cookie_is_replaced_and_removed_by_one_of_the_same_domain_path_and_name() -> None:
    jar = learned("a=1", "b=1", "a=2", "a=3; Path=/", "a=4; Domain=example.com")
    assert jar.header(URL, NOW) == b"a=2; b=1"
    jar.learn(URL, head("a=; Max-Age=0"), NOW)
    assert jar.header(URL, NOW) == b"b=1; a=4"
    jar.learn(URL, head("a=; Max-Age=0; Domain=example.com"), NOW)
    assert jar.header(URL, NOW) == b"b=1; a=3"
    jar.learn(URL, head("never=; Max-Age=0"), NOW)
    assert jar.header(URL, NOW) == b"b=1; a=3"


def test_a_secure_cookie_never_goes_over_http() -> None:
    jar = learned("a=b; Secure", "c=d; secure=false", "e=f", url="https://h.example/")
    assert jar.header("https://h.example/", NOW) == b"a=b; c=d; e=f"
    assert jar.header("http://h.example/", NOW) == b"e=f"


def test_longer_paths_come_first() -> None:
    jar = learned("r=1; Path=/", "d=2; Path=/a/b", "m=3; Path=/a", "s=4; Path=/")
    assert jar.header(URL, NOW) == b"d=2; m=3; r=1; s=4"


@pytest.mark.parametrize(("more", "kept"), [(-1, True), (0, True), (1, False)])
def test_a_cookie_has_a_limit(more: int, kept: bool) -> None:
    jar = learned("a=".ljust(MAX_COOKIE_BYTES + more, "x"), "c=d")
    assert set(jar.public()) == ({"a", "c"} if kept else {"c"})


def test_a_jar_has_a_limit_but_takes_news_of_what_it_has() -> None:
    jar = learned(*(f"c{n}=1" for n in range(MAX_COOKIES - 1)))
    jar.learn(URL, head("n=1", "n+1=1", "c0=2"), NOW)
    assert len(jar.public()) == MAX_COOKIES
    assert jar.public()["c0"] == "2" and jar.public()["n"] == "1"
    jar.learn(URL, head("c0=; Max-Age=0", "n+1=1", "n+2=1"), NOW)
    assert len(jar.public()) == MAX_COOKIES
    assert "n+1" in jar.public() and "c0" not in jar.public()


def test_other_fields_and_a_bare_head_teach_nothing() -> None:
    jar = TaskCookies(None, URL)
    jar.learn(URL, b"HTTP/1.1 200 OK\r\nX-Set-Cookie: a=b\r\nSet-Cookie2: c=d\r\n\r\n", NOW)
    jar.learn(URL, b"", NOW)
    assert jar.public() == {} and jar.header(URL, NOW) is None


def test_the_result_shows_all_of_them_and_a_later_one_wins() -> None:
    own = Cookies("a=1; h = 2; flag; n=0; bad=\udcff", {"n": "3", "s": "4"})
    jar = learned("s=5", "x=6; Path=/elsewhere", own=own)
    assert jar.public() == {
        "a": "1", "h": "2", "flag": "", "n": "3", "bad": "\ufffd", "s": "5", "x": "6",
    }  # fmt: skip


# 3. The laws.

hosts = st.sampled_from([
    "example.com", "www.example.com", "a.www.example.com", "example.org", "notexample.com",
    "a.co.uk", "b.co.uk", "x.a.co.uk", "co.uk", "a.github.io", "b.github.io", "github.io",
    "localhost", "a.localhost", "localhost.local", "intranet", "127.0.0.1", "127.0.0.2",
    "1.0.0.127", "[::1]", "[::2]", "com", "www.com",
])  # fmt: skip
urls = st.builds(
    "{}://{}{}".format, st.sampled_from(["http", "https"]), hosts, st.sampled_from(["/", "/a/b"])
)
domains = st.one_of(
    st.none(),
    hosts,
    hosts.map(lambda host: "." + host),
    st.sampled_from(["0.0.1", "uk", "io", "local", ".", "::1", "1"]),
)
hops = st.lists(st.tuples(urls, domains, st.booleans()), max_size=6)


@settings(deadline=None, max_examples=400)
@given(urls, hops, urls)
def test_no_cookie_reaches_another_site_or_goes_from_https_to_http(
    start: str, hops: list[tuple[str, str | None, bool]], last: str
) -> None:
    jar = TaskCookies(Cookies("task=1", {"named": "1"}), start)
    set_by = {"task": (start, True), "named": (start, True)}
    for number, (url, domain, secure) in enumerate(hops):
        line = f"c{number}=1"
        if domain is not None:
            line += f"; Domain={domain}"
        if secure:
            line += "; Secure"
        jar.learn(url, head(line), NOW)
        set_by[f"c{number}"] = (url, secure)
    for url in [*(hop[0] for hop in hops), last]:
        for pair in (jar.header(url, NOW) or b"").decode().split("; "):
            if pair:
                origin, stays_on_https = set_by[pair.partition("=")[0]]
                assert site_of(origin) == site_of(url)
                if stays_on_https and origin.startswith("https:"):
                    assert url.startswith("https:")


@settings(deadline=None, max_examples=300)
@given(st.text(max_size=60), st.text(max_size=60), urls, st.binary(max_size=60))
def test_no_cookie_is_too_strange(header: str, line: str, url: str, raw: bytes) -> None:
    jar = TaskCookies(Cookies(re.sub(r"[\x00-\x1f\x7f\ud800-\udfff]", "", header)), url)
    jar.learn(url, head(line.encode("utf-8", "replace"), raw, b"a=b; " + raw), NOW)
    assert not re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", jar.header(url, NOW) or b"")
    assert all(isinstance(value, str) for value in jar.public().values())


@settings(deadline=None)
@given(st.text("abcdefghijklmnop0123456789-:,+ GMTJanFebMayOctSunWed", max_size=40))
def test_no_date_is_too_strange(date: str) -> None:
    learned(f"a=b; Expires={date}").header(URL, NOW)


def test_another_site_cannot_delete_a_task_cookie() -> None:
    cookies = TaskCookies(Cookies("a=b"), URL)
    cookies.learn(
        "http://other.test/", b"HTTP/1.1 200 OK\r\nSet-Cookie: a=; Max-Age=0\r\n\r\n", NOW
    )
    assert cookies.header(URL, NOW) == b"a=b"
    assert cookies.public() == {"a": "b"}


def test_a_deleted_task_cookie_is_no_more_shown() -> None:
    cookies = learned("a=; Max-Age=0", own=Cookies("a=b", {"c": "d"}))
    assert cookies.public() == {"c": "d"}
