import pytest

from fetcher.proxy import parse_proxy
from pool.model import Record
from pool.snapshot.filters import MOST, FilterError, Filters, Traits, parse_filters, traits_of


def parse(**given: str) -> Filters:
    return parse_filters(lambda name: given.get(name, ""))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, Filters()),
        ({"scheme": "", "connect": "", "country": "", "max_latency": ""}, Filters()),
        ({"scheme": "SOCKS5, http"}, Filters(schemes=frozenset({"socks5", "http"}))),
        ({"connect": "1"}, Filters(connect=True)),
        ({"connect": "true"}, Filters(connect=True)),
        ({"alive": "1"}, Filters(alive=True)),
        ({"alive": "True"}, Filters(alive=True)),
        ({"alive": ""}, Filters()),
        ({"anonymity": "elite,Anonymous"}, Filters(anonymity=frozenset({"elite", "anonymous"}))),
        ({"country": "de,UK"}, Filters(countries=frozenset({"DE", "GB"}))),
        ({"max_latency": "0.8"}, Filters(max_latency=0.8)),
        ({"max_latency": "3"}, Filters(max_latency=3.0)),
        ({"country": ",".join(["DE"] * MOST)}, Filters(countries=frozenset({"DE"}))),
        ({"country": ",".join(["DE"] * (MOST - 1))}, Filters(countries=frozenset({"DE"}))),
    ],
)
def test_parameters_become_filters(given: dict[str, str], expected: Filters) -> None:
    assert parse(**given) == expected


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"scheme": "ftp"}, "scheme: expected one of http, https, socks4, .*, got 'ftp'"),
        ({"scheme": "http,"}, "scheme: .* got ''"),
        ({"connect": "0"}, "connect: expected 1, got '0'"),
        ({"connect": "yes"}, "connect: expected 1, got 'yes'"),
        ({"alive": "0"}, "alive: expected 1, got '0'"),
        ({"anonymity": "high"}, "anonymity: expected one of transparent, anonymous, elite"),
        ({"country": "Germany"}, r"country: expected two letters \(DE\), got 'Germany'"),
        ({"country": "DE,X1"}, "country: .* got 'X1'"),
        ({"country": ",".join(["DE"] * (MOST + 1))}, "country: expected at most 20 values, got 21"),
        ({"max_latency": "fast"}, r"max_latency: expected seconds \(0.8\), got 'fast'"),
        *(({"max_latency": text}, "max_latency") for text in ("0", "-1", "nan", "inf", "1e3", "٣")),
    ],
)
def test_what_cannot_be_meant_is_refused_in_words(given: dict[str, str], words: str) -> None:
    with pytest.raises(FilterError, match=words):
        parse(**given)


@pytest.mark.parametrize("name", ["alive", "connect"])
def test_a_switch_that_is_there_is_not_empty(name: str) -> None:
    with pytest.raises(FilterError, match=f"^{name}: expected 1, got ''$"):
        parse_filters(lambda name: "", {"scheme", name})


def test_other_parameters_may_be_there_and_empty() -> None:
    assert parse_filters(lambda name: "", {"scheme", "country", "max_latency"}) == Filters()


@pytest.mark.parametrize(
    ("given", "member", "record", "matches"),
    [
        ({}, "192.0.2.1:80", Record(), True),
        ({"scheme": "http"}, "192.0.2.1:80", Record(), True),
        ({"scheme": "https,socks5"}, "192.0.2.1:80", Record(), False),
        ({"scheme": "socks5"}, "socks5://192.0.2.1:80", Record(), True),
        ({"connect": "1"}, "192.0.2.1:80", Record(connect=True), True),
        ({"connect": "1"}, "192.0.2.1:80", Record(connect=False), False),
        ({"connect": "1"}, "192.0.2.1:80", Record(), False),
        ({"anonymity": "elite"}, "192.0.2.1:80", Record(anonymity="elite"), True),
        ({"anonymity": "elite"}, "192.0.2.1:80", Record(anonymity="anonymous"), False),
        ({"anonymity": "transparent,anonymous,elite"}, "192.0.2.1:80", Record(), False),
        ({"country": "de,fr"}, "192.0.2.1:80", Record(country="FR"), True),
        ({"country": "de"}, "192.0.2.1:80", Record(country="de"), True),
        ({"country": "de"}, "192.0.2.1:80", Record(country="FR"), False),
        ({"country": "de"}, "192.0.2.1:80", Record(), False),
        ({"max_latency": "0.5"}, "192.0.2.1:80", Record(latency=0.5), True),
        ({"max_latency": "0.5"}, "192.0.2.1:80", Record(latency=0.51), False),
        ({"max_latency": "0.5"}, "192.0.2.1:80", Record(), False),
    ],
)
def test_what_is_not_known_matches_nothing(
    given: dict[str, str], member: str, record: Record, matches: bool
) -> None:
    assert parse(**given).match(parse_proxy(member), record) is matches


@pytest.mark.parametrize(
    ("record", "clean"),
    [
        (Record(), None),
        (Record(own=True), True),
        (Record(connect=True), True),
        (Record(connect=True, tls=True), True),
        (Record(connect=True, tls=False), False),
        (Record(connect=False), False),
        (Record(connect=False, own=True), False),
    ],
)
def test_https_passes_unharmed_where_nothing_says_otherwise(
    record: Record, clean: bool | None
) -> None:
    expected = Traits("http", record.connect, clean, None, alters=False)
    assert traits_of(parse_proxy("192.0.2.1:80"), record) == expected


@pytest.mark.parametrize(("unaltered", "alters"), [(None, False), (True, False), (False, True)])
@pytest.mark.parametrize("own", [False, True])
def test_one_alters_plain_http_where_that_was_seen(
    unaltered: bool | None, alters: bool, own: bool
) -> None:
    traits = traits_of(parse_proxy("192.0.2.1:80"), Record(unaltered=unaltered, own=own))
    assert traits.alters is alters


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (Filters(), set()),
        (Filters(connect=True), {"connect"}),
        (Filters(anonymity=frozenset({"elite"}), connect=True), {"anonymity", "connect"}),
        (Filters(countries=frozenset({"DE"}), max_latency=1.0), set()),
    ],
)
def test_some_things_are_known_by_judges_only(filters: Filters, expected: set[str]) -> None:
    assert filters.need_judge == expected
