import pytest

from fetcher.errors import TaskError
from fetcher.http.asked import (
    PARAMETERS,
    SHORT,
    Asked,
    find_pool,
    read_asked,
    read_switch,
    read_wishes,
)
from fetcher.model import NO_WISHES, Fetch, Wishes
from fetcher.route.route import DIRECT, Direct, Pool


def asked(*parameters: tuple[str, str], **fields: str) -> Asked:
    spelled = ((name.replace("_", "-"), value) for name, value in fields.items())
    return Asked("GET", tuple(spelled), parameters)


def read(of: Asked, *, caller_proxy: bool = True, max_body: int = 0) -> Fetch:
    return read_asked(of, caller_proxy=caller_proxy, max_body=max_body)


def test_method_and_fields_go_on() -> None:
    fields = (("Host", "x"), ("Accept", "*/*"), ("X-One", "caf\xe9"))
    assert read(Asked("PUT", fields, ())) == Fetch(
        method="PUT", headers={"Accept": b"*/*", "X-One": b"caf\xe9"}
    )


@pytest.mark.parametrize(
    ("name", "text", "option", "value"),
    [
        ("timeout", "3", "timeout", 3.0),
        ("retries", "2", "retries", 2),
        ("delay", "0.5", "delay", 0.5),
        ("proxy", "pool", "proxy", "pool"),
        ("site", "zhihu", "site", "zhihu"),
        ("redirects", "0", "allow_redirects", False),
        ("redirects", "1", "allow_redirects", True),
        ("render", "js", "fetch_type", "js"),
        ("render", "auto", "fetch_type", "auto"),
    ],
)
def test_a_parameter_is_an_option(name: str, text: str, option: str, value: object) -> None:
    assert getattr(read(asked((name, text))), option) == value


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("timeout", "soon", "timeout: expected a number, got 'soon'"),
        ("retries", "1.5", "retries: expected a number, got '1.5'"),
        ("redirects", "yes", "redirects: expected 0 or 1, got 'yes'"),
        ("render", "html", "render: expected js or auto, got 'html'"),
        ("timout", "3", "unknown parameter 'timout' .did you mean timeout.*percent-encode that"),
    ],
)
def test_a_parameter_that_is_wrong_is_named(name: str, text: str, words: str) -> None:
    with pytest.raises(TaskError, match=words):
        read(asked(("site", "x"), (name, text)))


def test_redirects_of_a_rendered_page_cannot_be_switched_off() -> None:
    assert read(asked(("render", "js"), ("redirects", "1"))).allow_redirects is True
    assert read(asked(("render", "auto"), ("redirects", "0"))).allow_redirects is False
    with pytest.raises(TaskError, match="redirects: with render=js they are the browser's"):
        read(asked(("redirects", "0"), ("render", "js")))


@pytest.mark.parametrize("sites", [None, ("universal", "x")])
@pytest.mark.parametrize("text", ["x", "", "universal"])
def test_a_site_that_there_is_may_be_named(text: str, sites: tuple[str, ...] | None) -> None:
    of = asked(("site", text))
    assert read_asked(of, caller_proxy=True, max_body=0, sites=sites).site == text


def test_a_site_that_there_is_none_of_is_refused_where_they_are_known() -> None:
    of = asked(("site", "nosuch"))
    assert read_asked(of, caller_proxy=True, max_body=0, sites=None).site == "nosuch"
    with pytest.raises(TaskError, match="site: expected one of universal, x, got 'nosuch'"):
        read_asked(of, caller_proxy=True, max_body=0, sites=("universal", "x"))


@pytest.mark.parametrize("text", ["DE", "de"])
def test_a_country_is_a_wish_and_no_option(text: str) -> None:
    of = asked(("site", "x"), ("country", text))
    assert read_wishes(of, (Direct(), Pool())) == Wishes(country="DE")
    assert read(of) == Fetch(method="GET", headers={}, site="x")
    assert read_wishes(asked(("site", "x")), DIRECT) is NO_WISHES


@pytest.mark.parametrize("text", ["", "D", "DEU", "D1", "DE,FR", "\u0130D"])
def test_a_country_is_two_letters(text: str) -> None:
    with pytest.raises(TaskError, match="country: expected two letters"):
        read_wishes(asked(("country", text)), (Pool(),))


def test_a_country_is_for_proxies_of_a_pool() -> None:
    with pytest.raises(TaskError, match=r"country: .* take proxy=pool"):
        read_wishes(asked(("country", "DE")), DIRECT)


def test_a_parameter_is_about_the_first_pool_of_a_way() -> None:
    assert find_pool("session", (Direct(), Pool("zhihu"), Pool())) == Pool("zhihu")
    with pytest.raises(TaskError, match=r"session: .* leave it out, or take proxy=pool"):
        find_pool("session", DIRECT)


def test_a_caller_chooses_its_way_only_where_it_may() -> None:
    with pytest.raises(TaskError, match=r"api\.caller_proxy: true"):
        read(asked(("proxy", "direct")), caller_proxy=False)


@pytest.mark.parametrize(("limit", "expected"), [(0, None), (1, 1)])
def test_a_limit_is_that_of_the_task(limit: int, expected: int | None) -> None:
    assert read(asked(), max_body=limit).max_body == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"Range": "bytes=0-1"}, False),
        ({"Range": "bytes=0-1", "Accept_Encoding": "gzip"}, None),
        ({"Accept_Encoding": "gzip"}, None),
    ],
)
def test_a_range_is_one_of_the_bytes_that_are_sent(
    fields: dict[str, str], expected: bool | None
) -> None:
    assert read(asked(**fields)).use_gzip is expected


@pytest.mark.parametrize(("text", "expected"), [("0", False), ("1", True)])
def test_a_switch_is_on_or_off(text: str, expected: bool) -> None:
    assert read_switch("cookies", text) is expected


@pytest.mark.parametrize("text", ["", "2", "true"])
def test_a_switch_is_nothing_else(text: str) -> None:
    with pytest.raises(TaskError, match="cookies: expected 0 or 1"):
        read_switch("cookies", text)


@pytest.mark.parametrize(("more", "expected"), [(-1, True), (0, True), (1, False)])
def test_what_is_remembered_is_short(more: int, expected: bool) -> None:
    names = len("X-One") + len("site") + len("x")
    of = asked(("site", "x"), X_One="1" * (SHORT - names + more))
    assert of.is_short is expected


def test_all_parameters_are_known() -> None:
    assert set(PARAMETERS) > {"url", "session", "cookies", "timeout", "redirects", "render"}
