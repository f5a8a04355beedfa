"""The vocabularies of lists, in our words."""

from itertools import repeat

import pytest

from fetcher.proxy import Proxy
from pool.sources.found import (
    REPEATED,
    Found,
    build_found,
    distinct,
    is_protocol,
    read_anonymity,
    read_anonymity_cell,
    read_country,
    read_group,
    read_mentioned,
    read_region,
    read_scheme,
    read_schemes,
)


@pytest.mark.parametrize(
    ("claim", "schemes"),
    [
        ("http", ("http",)),
        ("https", ("http",)),
        ("Http, Https", ("http",)),
        ("Http, Socks4", ("http", "socks4")),
        ("HTTP/SOCKS5", ("http", "socks5")),
        ("HTTP(S)", ("http",)),
        ("connect", ("http",)),
        (["socks4", "socks5"], ("socks4", "socks5")),
        (["vmess"], ()),
        ("socks", ()),
        ("", None),
        ([], None),
        (None, None),
        (5, None),
        ([None, {"http": 1}], None),
    ],
)
def test_schemes_are_read_from_names_texts_and_arrays(claim: object, schemes: object) -> None:
    assert read_schemes(claim) == schemes


def test_a_listed_https_is_an_http_proxy_that_tunnels() -> None:
    assert read_scheme(" HTTPS ") == "http"
    assert read_scheme("ftp") is None


@pytest.mark.parametrize(
    ("cell", "level"),
    [("Elite proxy", "elite"), ("anonymous", "anonymous"), ("No", None), ("HIGH", None)],
)
def test_a_cell_without_a_heading_names_a_level_unmistakably(cell: str, level: str | None) -> None:
    assert read_anonymity_cell(cell) == level


@pytest.mark.parametrize(
    ("claim", "level"),
    [
        ("N", "transparent"),
        ("NOA", "transparent"),
        ("Transparent", "transparent"),
        ("透明", "transparent"),
        ("透明代理", "transparent"),
        ("A", "anonymous"),
        ("anm", "anonymous"),
        ("anonymous proxy", "anonymous"),
        ("普匿", "anonymous"),
        ("H", "elite"),
        ("A!", "anonymous"),
        ("hia", "elite"),
        ("Elite", "elite"),
        ("elite proxy", "elite"),
        ("high_anonymous", "elite"),
        ("High-Anonymous", "elite"),
        ("高匿", "elite"),
        ("高匿名代理", "elite"),
        ("", None),
        ("residential", None),
        (None, None),
        (True, None),
        (["elite"], None),
    ],
)
def test_anonymity_is_read_from_every_vocabulary(claim: object, level: object) -> None:
    assert read_anonymity(claim) == level


@pytest.mark.parametrize(
    ("claim", "country"),
    [
        ("US", "US"),
        (" us ", "US"),
        ("UK", "GB"),
        ("XK", "XK"),
        ("United States", None),
        ("ZZ", None),
        ("XX", None),
        ("QM", None),
        ("1A", None),
        ("中国", None),
        ("", None),
        (None, None),
        (["US"], None),
    ],
)
def test_only_codes_of_countries_are_countries(claim: object, country: object) -> None:
    assert read_country(claim) == country


def test_a_found_proxy_is_canonical_and_possible() -> None:
    assert build_found(Proxy("http", "2606:4700:0::1", 80), "us", "elite") == Found(
        Proxy("http", "2606:4700::1", 80), "US", "elite"
    )
    assert build_found(Proxy("http", "8.8.4.300", 80)) is None


@pytest.mark.parametrize("limit", [-1, 0, 1, 2, 3, 4])
def test_the_first_of_equals_stays_in_order_up_to_the_limit(limit: int) -> None:
    rows = [
        Found(Proxy("http", host, 80), country)
        for host, country in (("8.8.4.2", "US"), ("8.8.4.1", None), ("8.8.4.2", "DE"))
    ]
    assert distinct(rows, limit) == rows[: max(0, min(limit, 2))]


@pytest.mark.parametrize(("before", "expected"), [(0, 2), (19, 2), (20, 1), (21, 1)])
def test_one_that_is_repeated_without_end_ends_the_list(before: int, expected: int) -> None:
    first, second = (Found(Proxy("http", f"8.8.4.{n}", 80)) for n in (1, 2))
    rows = [*[first] * max(before, 1), second]
    assert REPEATED * 2 == 20
    assert len(distinct(rows, 2)) == expected
    assert len(distinct(repeat(first), 2)) == 1


@pytest.mark.parametrize(
    ("text", "schemes"),
    [
        ("a SOCKS5 proxy", ("socks5",)),
        ("Socks v5", ("socks5",)),
        ("socks4/5", ("socks4", "socks5")),
        ("SOCKS4 & SOCKS5", ("socks4", "socks5")),
        ("socks 5.5.5.5", ()),
        ("vmess", ()),
        ("nothing", None),
    ],
)
def test_protocols_are_found_among_other_words(text: str, schemes: tuple[str, ...] | None) -> None:
    assert read_mentioned(text) == schemes


@pytest.mark.parametrize(
    ("name", "schemes"),
    [
        ("SOCKS5 proxies:", ("socks5",)),
        ("http_list", ("http",)),
        ("https://", ("http",)),
        ("vmess", ()),
        ("proxies", None),
        ("SOCKS5 are fine", None),
        ("", None),
    ],
)
def test_a_group_is_named_by_its_protocols_alone(
    name: str, schemes: tuple[str, ...] | None
) -> None:
    assert read_group(name) == schemes


def test_protocols_that_are_not_ours_are_such_too() -> None:
    assert is_protocol("SOCKS5")
    assert is_protocol("vmess")
    assert not is_protocol("US")
    assert not is_protocol("")


@pytest.mark.parametrize(
    ("region", "code"),
    [
        ("us", "US"),
        ("United States", "US"),
        ("中国 广东", "CN"),
        ("中国-广东-深圳", "CN"),
        ("Germany, Berlin", "DE"),
        ("somewhere", None),
        ("", None),
        (None, None),
    ],
)
def test_regions_of_other_pools_are_countries_where_they_are_known(
    region: object, code: str | None
) -> None:
    assert read_region(region) == code
