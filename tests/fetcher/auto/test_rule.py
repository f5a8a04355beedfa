"""Whether a page is rendered, by what is known."""

import pytest

from fetcher.auto.model import Need
from fetcher.auto.rule import ENOUGH, NOTHING, PROBE, PROBE_AGAIN, Known, decide, shape_of

NEVER, UNLIKELY, LIKELY, CERTAIN = Need
ALL = (UNLIKELY, LIKELY, CERTAIN)


def known(streak: int) -> Known:
    return Known(max(streak, 0), max(-streak, 0), streak)


@pytest.mark.parametrize(
    ("need", "shape", "host", "passed", "renders"),
    [
        # Nothing is known: the HTML decides, and now and then one is tried.
        (UNLIKELY, 0, 0, 0, False),
        (UNLIKELY, 0, 0, PROBE - 1, False),
        (UNLIKELY, 0, 0, PROBE, True),
        (LIKELY, 0, 0, 0, True),
        (CERTAIN, 0, 0, 0, True),
        # Rendering its like has changed something.
        *((need, 1, 0, 0, True) for need in ALL),
        *((need, 1, -99, 0, True) for need in ALL),
        # It has changed nothing: what seems empty is tried twice.
        (UNLIKELY, -1, 0, PROBE, False),
        (LIKELY, -1, 0, 0, False),
        (CERTAIN, -1, 0, 0, True),
        (CERTAIN, -2, 0, 0, False),
        (CERTAIN, -2, 99, 0, False),
        (CERTAIN, -2, 0, PROBE_AGAIN - 1, False),
        (CERTAIN, -2, 0, PROBE_AGAIN, True),
        (UNLIKELY, -1, 0, PROBE_AGAIN, True),
        # Others at its host were rendered.
        (UNLIKELY, 0, ENOUGH - 1, 0, False),
        (UNLIKELY, 0, ENOUGH, 0, True),
        (LIKELY, 0, 1 - ENOUGH, 0, True),
        (LIKELY, 0, -ENOUGH, 0, False),
        (LIKELY, 0, -ENOUGH, PROBE, True),
        (CERTAIN, 0, -ENOUGH, 0, True),
        # A page without any script is not, whatever is known.
        (NEVER, 0, 0, PROBE_AGAIN, False),
        (NEVER, 99, 99, PROBE_AGAIN, False),
    ],
)
def test_a_page_is_rendered_by_what_is_known(need, shape, host, passed, renders) -> None:
    assert decide(need, known(shape), known(host), passed) is renders


def test_what_is_known_grows_by_one_and_a_streak_breaks() -> None:
    one = NOTHING.plus(changed=True)
    two = one.plus(changed=True)
    assert (one, two) == (Known(1, 0, 1), Known(2, 0, 2))
    three = two.plus(changed=False)
    assert (three, three.plus(changed=False)) == (Known(2, 1, -1), Known(2, 2, -2))
    assert three.plus(changed=True) == Known(3, 1, 1)


@pytest.mark.parametrize(
    ("url", "host", "shape"),
    [
        ("http://h", "h:80", "/"),
        ("https://h/", "h:443", "/"),
        ("http://h:81/?a=1", "h:81", "/"),
        ("http://h/shop/item/12345", "h:80", "/shop/item/0"),
        ("http://h/shop/item/abc-12", "h:80", "/shop/item/0"),
        ("http://h/news/some-long-title", "h:80", "/news/*"),
        ("http://h/news/some-long-title.html?x=/y#z", "h:80", "/news/*"),
        ("http://h/about_us/", "h:80", "/about_us/"),
        ("http://h/" + "a" * 20, "h:80", "/" + "a" * 20),
        ("http://h/" + "a" * 21, "h:80", "/*"),
        ("http://h/a/b/c/d/e/f", "h:80", "/a/b/c/d/e/f"),
        ("http://h/a/b/c/d/e/f/g/h", "h:80", "/a/b/c/d/e/f/..."),
        ("http://h/%E4%B8%AD", "h:80", "/0"),
        ("http://h/" + "/".join(["a" * 20] * 6), "h:80", ("/" + "a" * 20) * 4 + "/" + "a" * 15),
    ],
)
def test_pages_are_alike_whose_urls_have_the_same_shape(url: str, host: str, shape: str) -> None:
    assert shape_of(url) == (host, shape)
