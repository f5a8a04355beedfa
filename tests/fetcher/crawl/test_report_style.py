import re

from fetcher.crawl.report_style import CSS


def test_nothing_comes_from_elsewhere() -> None:
    assert not re.search(r"url\(|@import|@font-face|//|<", CSS)


def test_every_colour_has_a_dark_one() -> None:
    light, dark = re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)
    names = set(re.findall(r"(--[a-z-]+):", light))
    assert names == set(re.findall(r"(--[a-z-]+):", dark))
    assert names == set(re.findall(r"var\((--[a-z-]+)\)", CSS))


def test_braces_are_closed() -> None:
    assert CSS.count("{") == CSS.count("}")
