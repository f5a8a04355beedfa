import re

import pytest

from pool.http.front_page import ROUTES, TUNNELS, Proxy, render_page, wants_page
from pool.model import Status

FIREFOX = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "wants"),
    [
        ("", False),
        ("*/*", False),
        ("text/*", False),
        ("application/json, text/plain;q=0.9, */*;q=0.1", False),
        ("text/htmlx", False),
        ("application/xhtml+xml", False),
        (FIREFOX, True),
        ("text/html", True),
        ("TEXT/HTML ; charset=utf-8", True),
        ("application/xml, text/html;q=0.1", True),
        ("text/html;q=0", False),
        ("text/html; q=0.000, */*", False),
        ("text/html;Q=1.0", True),
        (",;,", False),
    ],
)
def test_who_asks_for_html_by_name_gets_the_page(accept: str, wants: bool) -> None:
    assert wants_page(accept) is wants


def render(host: str = "127.0.0.1:5555", *, good: int = 24, found: int = 65, **more: object) -> str:
    given = {"sites": {}, "has_key": False, **more}
    return render_page(host, Status(found, found - 1, good), **given)  # type: ignore[arg-type]


def test_the_page_tells_the_counts_the_routes_and_what_to_do_first() -> None:
    page = render(sites={"shop": Status(9, 9, 3)})
    assert "<b>24</b> good of 65 proxies found, 64 of them checked." in page
    assert "<p>Site shop: 3 good of 9.</p>" in page
    for path, query, _ in ROUTES:
        assert f"<code>{path}</code>" in page
        assert (f'<a href="{path}' in page) is (query is not None) or path == "/api/proxies/P"
    assert "curl 'http://127.0.0.1:5555/random'\n" in page
    assert "docs/http-api.md" in page


def test_what_is_for_post_alone_is_no_link() -> None:
    assert "<th><code>/tasks</code><td>POST" in render()


@pytest.mark.parametrize(
    ("host", "proxy", "words"),
    [
        ("127.0.0.1:5555", Proxy("http", 5556, False), "curl -x http://127.0.0.1:5556 http://e"),
        ("[::1]:5555", Proxy("http", 1, False), "curl -x http://[::1]:1 http://e"),
        ("[::1]", Proxy("http", 1, False), "curl -x http://[::1]:1 http://e"),
        ("a.localhost", Proxy("https", 2, True), "curl -x https://USER:KEY@a.localhost:2 http://e"),
        ("<b>:80", Proxy("http", 3, False), "curl -x http://&lt;b&gt;:3 http://e"),
        ("127.0.0.1:5555", Proxy("http", 0, False), "at a port that it has chosen: the log names"),
    ],
)
def test_the_page_names_the_forward_proxy_and_the_routes_of_its_tunnels(
    host: str, proxy: Proxy, words: str
) -> None:
    page = render(host, proxy=proxy)
    assert words in page
    assert '<a href="/api/tunnels"><code>/api/tunnels</code></a>' in page
    assert "<th><code>/api/tunnels/ID</code><td>DELETE" in page


def test_without_a_forward_proxy_there_is_no_word_of_it() -> None:
    page = render()
    assert "forward proxy" not in page
    assert not any(path in page for path, _, _ in TUNNELS)


@pytest.mark.parametrize(
    ("good", "found", "words"),
    [
        (1, 2, "have passed their last check"),
        (0, 2, "None has passed its last check so far"),
        (0, 0, "The pool is empty so far"),
    ],
)
def test_the_page_says_what_the_counts_mean(good: int, found: int, words: str) -> None:
    assert words in render(good=good, found=found)


def test_the_page_asks_nobody_for_anything() -> None:
    page = render(has_key=True)
    assert "curl -H 'API-KEY: ...' 'http://127.0.0.1:5555/random'" in page
    assert not re.search(r"<script|<link|<img|src=|@import|url\(|href=\"(?!/)", page)
    assert "prefers-color-scheme: dark" in page


def test_what_is_not_ours_is_escaped() -> None:
    page = render("<b>&'\"", sites={"<i>": Status(1, 1, 1)})
    assert "<b>&'" not in page
    assert "<i>" not in page
    assert "curl 'http://&lt;b&gt;&amp;'\"/random'" in page
    assert "Site &lt;i&gt;: 1 good" in page
