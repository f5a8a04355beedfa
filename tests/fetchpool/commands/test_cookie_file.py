import pytest

from fetcher.errors import TaskError
from fetchpool.commands.cookie_file import choose_cookies, parse_cookies

LINES = [
    "# Netscape HTTP Cookie File",
    "",
    "site.test\tFALSE\t/\tFALSE\t0\thost\t1",
    "#HttpOnly_site.test\tFALSE\t/p\tFALSE\t0\tdeep\t2",
    ".site.test\tTRUE\t/\tFALSE\t0\tbelow\t3",
    "site.test\tFALSE\t/\tTRUE\t0\tsecure\t4",
    "site.test\tFALSE\t/\tFALSE\t1000\tlong\t5",
    "127.0.0.1\tFALSE\t/\tTRUE\t-1\tgone\t6",
    "127.0.0.1\tFALSE\t\tTRUE\t0\tlocal\t7",
    "localhost\tFALSE\t/\tTRUE\t0\tempty",
]


@pytest.mark.parametrize(
    ("url", "now", "expected"),
    [
        ("http://site.test/", 999, ["below=3", "host=1", "long=5"]),
        ("http://site.test", 1000, ["below=3", "host=1"]),
        ("HTTP://SITE.test./", 1000, ["below=3", "host=1"]),
        ("https://site.test/", 1000, ["secure=4", "below=3", "host=1"]),
        ("http://site.test/p", 1000, ["deep=2", "below=3", "host=1"]),
        ("http://site.test/p/q?x", 1000, ["deep=2", "below=3", "host=1"]),
        ("http://site.test/px", 1000, ["below=3", "host=1"]),
        ("http://a.site.test/", 1000, ["below=3"]),
        ("http://othersite.test/", 1000, []),
        ("http://127.0.0.1:1/", 1000, ["local=7"]),
        ("http://localhost/", 1000, ["empty="]),
        ("data:,", 1000, []),
    ],
)
def test_a_cookie_goes_where_curl_sends_it(url: str, now: float, expected: list[str]) -> None:
    assert choose_cookies(parse_cookies(LINES), url, now) == expected


@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        "h\tFALSE\t/\tFALSE\tsoon\ta\tb",
        "h\tFALSE\t/\tFALSE\t0\ta\tb\tc",
        "Set-Cookie: a",
    ],
)
def test_another_line_is_named(line: str) -> None:
    with pytest.raises(TaskError, match="line 2: not a cookie as Netscape wrote them"):
        parse_cookies(["# one", line])
