import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetcher.dns.cache import (
    MAX_ADDRESSES,
    Addresses,
    DnsCache,
    Failure,
    Lifetimes,
    answer_unasked,
    build_failure,
    order_addresses,
)

LIFETIMES = Lifetimes(min_ttl=5, max_ttl=600, negative_ttl=30, failure_ttl=2)
LONGEST = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 61])  # 253 characters


def build_cache(max_names: int = 10) -> DnsCache:
    return DnsCache(max_names, LIFETIMES)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("[::1]", "::1"),
        ("127.1", "127.0.0.1"),
        ("0x7f.1", "127.0.0.1"),
    ],
)
def test_an_address_is_its_own_answer(host: str, address: str) -> None:
    assert answer_unasked(host) == Addresses((address,))


@pytest.mark.parametrize(
    "host",
    [
        "a", "a.b", "a.b.", "a_b.c", "xn--mnchen-3ya.de", "-a-.b", "1a.2b", "3com", "a" * 63,
        LONGEST, LONGEST + ".",
    ],
)  # fmt: skip
def test_a_name_has_to_be_asked_for(host: str) -> None:
    assert answer_unasked(host) is None


@pytest.mark.parametrize(
    ("host", "failure"),
    [
        ("", Failure.MALFORMED),
        (".", Failure.MALFORMED),
        ("a..b", Failure.MALFORMED),
        (".a", Failure.MALFORMED),
        ("a.b..", Failure.MALFORMED),
        ("a b", Failure.MALFORMED),
        ("a\0b", Failure.MALFORMED),
        ("a\n", Failure.MALFORMED),
        ("*.a", Failure.MALFORMED),
        ("a\\.b", Failure.MALFORMED),
        ("münchen.de", Failure.MALFORMED),
        ("a:b", Failure.MALFORMED),
        ("127.0.0.08", Failure.MALFORMED),
        ("1.2.3.4.5", Failure.MALFORMED),
        ("a.1", Failure.MALFORMED),
        ("a" * 64, Failure.TOO_LONG),
        ("a" * 64 + ".b", Failure.TOO_LONG),
        (LONGEST + "d", Failure.TOO_LONG),
        (LONGEST + "d.", Failure.TOO_LONG),
    ],
)
def test_what_is_no_name_is_refused_unasked(host: str, failure: Failure) -> None:
    assert answer_unasked(host) == build_failure(host, failure)


@given(st.text(max_size=80))
def test_any_text_is_an_address_a_failure_or_a_question(host: str) -> None:
    answer = answer_unasked(host)
    assert answer is None or bool(answer.addresses) != bool(answer.error)


def test_failures_speak_as_libcurl_does() -> None:
    assert build_failure("a.b", Failure.NO_NAME).error == (
        "Could not resolve host: a.b (there is no such name)"
    )
    assert build_failure("a.b", Failure.SILENT, 1.5) == Addresses(
        error="Resolving timed out after 1500 milliseconds", timed_out=True
    )


def test_an_endless_name_is_cut_in_its_error() -> None:
    theirs = [failure for failure in Failure if not build_failure("a", failure).ours]
    assert set(Failure) - set(theirs) == {Failure.UNREACHABLE, Failure.CLOSED}
    error = build_failure("a" * 100_000, Failure.TOO_LONG).error
    assert error is not None
    assert len(error) < 400


@pytest.mark.parametrize(
    ("v4", "v6", "usable", "ordered"),
    [
        ("ab", "", (True, True), "ab"),
        ("", "xy", (True, True), "xy"),
        ("ab", "xy", (True, True), "axby"),
        ("abc", "x", (True, True), "axbc"),
        ("ab", "xy", (False, False), "axby"),
        ("ab", "xy", (True, False), "abxy"),
        ("ab", "xy", (False, True), "xyab"),
        ("aba", "xx", (True, True), "axb"),
    ],
)
def test_families_take_turns_unless_one_has_no_route(
    v4: str, v6: str, usable: tuple[bool, bool], ordered: str
) -> None:
    v4_usable, v6_usable = usable
    assert order_addresses(list(v4), list(v6), v4_usable=v4_usable, v6_usable=v6_usable) == tuple(
        ordered
    )


@pytest.mark.parametrize("count", [MAX_ADDRESSES - 1, MAX_ADDRESSES, MAX_ADDRESSES + 1])
def test_a_name_has_a_bounded_number_of_addresses(count: int) -> None:
    v4 = [f"127.0.0.{n}" for n in range(count)]
    ordered = order_addresses(v4, [], v4_usable=True, v6_usable=True)
    assert ordered == tuple(v4[:MAX_ADDRESSES])


@pytest.mark.parametrize(
    ("ttl", "kept"), [(0, 5), (4, 5), (5, 5), (6, 6), (599, 599), (600, 600), (601, 600)]
)
def test_addresses_are_kept_for_their_time_within_the_bounds(ttl: float, kept: float) -> None:
    cache = build_cache()
    answer = cache.learn("a", ("127.0.0.1",), ttl, 1000.0)
    assert answer == Addresses(("127.0.0.1",))
    assert cache.get("a", 1000.0 + kept - 0.001) is answer
    assert cache.get("a", 1000.0 + kept) is None


@pytest.mark.parametrize("failure", Failure)
def test_failures_are_kept_for_a_short_while(failure: Failure) -> None:
    kept = 30 if failure in (Failure.NO_NAME, Failure.NO_ADDRESS) else 2
    cache = build_cache()
    answer = cache.fail("a", failure, 1.0, 0.0)
    assert answer == build_failure("a", failure, 1.0)
    assert cache.get("a", kept - 0.001) is answer
    assert cache.get("a", kept) is None


def test_a_new_answer_replaces_the_old_one() -> None:
    cache = build_cache()
    cache.fail("a", Failure.NO_NAME, 0, 0.0)
    cache.learn("a", ("127.0.0.1",), 60, 1.0)
    assert cache.get("a", 2.0) == Addresses(("127.0.0.1",))
    assert len(cache) == 1


def test_the_order_stays_as_long_as_the_addresses_do() -> None:
    cache = build_cache()
    cache.learn("a", ("127.0.0.1", "127.0.0.2"), 5, 0.0)
    assert cache.learn("a", ("127.0.0.2", "127.0.0.1"), 5, 100.0).addresses == (
        "127.0.0.1",
        "127.0.0.2",
    )
    assert cache.get("a", 104.0) is not None
    assert cache.learn("a", ("127.0.0.3", "127.0.0.1"), 5, 200.0).addresses == (
        "127.0.0.3",
        "127.0.0.1",
    )


@pytest.mark.parametrize(("names", "gone"), [(2, ""), (3, ""), (4, "0"), (5, "01")])
def test_the_oldest_answers_make_room(names: int, gone: str) -> None:
    cache = build_cache(max_names=3)
    for n in range(names):
        cache.learn(str(n), ("127.0.0.1",), 60, 0.0)
    assert [n for n in range(names) if cache.get(str(n), 1.0) is None] == [int(n) for n in gone]
    assert len(cache) == min(names, 3)


def test_an_answer_that_was_renewed_is_young() -> None:
    cache = build_cache(max_names=2)
    for name in "abac":
        cache.learn(name, ("127.0.0.1",), 60, 0.0)
    assert cache.get("a", 1.0) is not None
    assert cache.get("b", 1.0) is None


def test_a_cache_of_no_names_keeps_none() -> None:
    cache = build_cache(max_names=0)
    assert cache.learn("a", ("127.0.0.1",), 60, 0.0).addresses == ("127.0.0.1",)
    assert len(cache) == 0
