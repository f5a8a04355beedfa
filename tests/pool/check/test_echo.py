import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fetcher.pattern import compile_pattern
from pool.check.echo import build_echo, find_echoed

HOME = "http://www.shop.example/"
PAGE = "https://shop.example:8443/a-b/c?q=hens&x=%C3%A9"


@pytest.mark.parametrize(
    ("url", "body", "echoed"),
    [
        (HOME, "shop", True),
        (HOME, "(?i)SHOP", True),
        (HOME, "SHOP", True),  # some pages shout
        (HOME, r"www\.shop", True),
        (HOME, "http://", True),
        (HOME, "%2F", True),  # as portals hand it on
        (HOME, ".", True),
        (HOME, "Shop", False),
        (HOME, "shop title", False),
        (HOME, "百度一下", False),
        (HOME, "", False),  # demands nothing
        (HOME, ".*", False),
        (HOME, "^", False),
        (HOME, "^$", False),
        (PAGE, "hens", True),
        (PAGE, "q=hens", True),
        (PAGE, "é", True),
        (PAGE, "8443", True),
        (PAGE, "a-b", True),
        (PAGE, "hens&amp;x", True),
        (PAGE, "cocks", False),
        ("http://[2001:db8::1]/", "2001", True),
    ],
)
def test_an_expression_is_echoed_if_a_name_of_the_url_fulfils_it(
    url: str, body: str, echoed: bool
) -> None:
    assert find_echoed(compile_pattern(body), [url]) == (url if echoed else None)


def test_one_url_of_several_is_enough() -> None:
    assert find_echoed(compile_pattern("shop"), ["http://other.test/", HOME, PAGE]) == HOME


# What pages make of a URL: squid, Apache, MikroTik, Fortinet, JavaScript, mails about phishing.
@pytest.mark.parametrize(
    "text",
    [
        "http://www.shop.example/",
        "http://www.shop.example",
        "https://www.shop.example/",
        "HTTP://WWW.SHOP.EXAMPLE/",
        "//www.shop.example/",
        "www.shop.example",
        "www.shop.example:80",
        "www.shop.example.",
        "www.shop.example/favicon",  # a path of somebody else's: no link leads there
        "shop.example",
        "*.shop.example",
        ".shop.example",
        "*.www.shop.example",
        "me@www.shop.example",
        "http%3A%2F%2Fwww.shop.example%2F",
        "http%3a%2f%2fwww.shop.example%2f",
        "http%253A%252F%252Fwww.shop.example%252F",
        "http%3A//www.shop.example/",
        r"http:\/\/www.shop.example\/",
        r"http:\u002f\u002fwww.shop.example\u002F",
        r"http\x3a\x2f\x2fwww.shop.example\x2f",
        "http:&#x2F;&#x2F;www.shop.example&#x2F;",
        "http:&#47;&#047;www.shop.example&#47;",
        "hxxp://www[.]shop[.]example/",
        "http://www.shop.example/?gw=1",
        "dst=www.shop.example&x",
        "url%3Dwww.shop.example%26x",
        "http://www.shop.example:8080/",
    ],
)
def test_a_page_that_names_a_url_echoes_it(text: str) -> None:
    rest = build_echo([HOME]).sub("", f"<p>{text}</p>")
    assert "shop" not in rest.lower()


@pytest.mark.parametrize(
    "text",
    [
        "http://www.shop.example/more",
        "//www.shop.example/img/logo.png",
        r"http:\/\/www.shop.example\/more",
        "http%3A%2F%2Fwww.shop.example%2Fmore",
        "http://img.www.shop.example/",
        "http://img.shop.example/",
        "http://my-shop.example/",
        "http://www.shop.example.org/",
        "https://www.shop.example-shop.test/",
        "workshop.example",
        "the shop",
        "example",
    ],
)
def test_another_page_is_no_echo(text: str) -> None:
    assert build_echo([HOME]).sub("", f"<p>{text}</p>") == f"<p>{text}</p>"


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("GET /a-b/c?q=hens&x=%C3%A9 HTTP/1.1", "GET  HTTP/1.1"),
        ("The requested URL /a-b/c was not found", "The requested URL  was not found"),
        ("https://shop.example:8443/a-b/c?q=hens&amp;x=%C3%A9.", "."),
        ("q=hens, x=é", ", "),
        ("q%3Dhens%26x%3D%25C3%25A9", "%26"),
        ("/a-b/c/d /a-b/cd /x/a-b/c", "/a-b/c/d /a-b/cd /x/a-b/c"),
        ("q=henshouse seq=hens", "q=henshouse seq=hens"),
        ("hens", "hens"),  # a real page of results has the word too
    ],
)
def test_path_and_query_are_echoes_too(text: str, rest: str) -> None:
    assert build_echo([HOME, PAGE]).sub("", text) == rest


def test_an_address_has_no_domain_above_it() -> None:
    echo = build_echo(["http://192.0.2.1/", "http://[2001:db8::1]/"])
    assert echo.sub("", "http://192.0.2.1/ 0.2.1 http://[2001:db8::1]/") == " 0.2.1 "


@settings(deadline=None)
@given(st.text(max_size=40), st.text("/?&=%ab;#.é", max_size=20))
def test_any_url_and_text_will_do(text: str, tail: str) -> None:
    url = "http://h.test/" + tail.partition("#")[0]
    assert "h.test" not in build_echo([url]).sub("", f"{text} {url} {text}").replace(text, "")
