import json

import pytest
from msgspec.structs import replace

from fetcher.http.gate import (
    JSON,
    Gate,
    Refusal,
    find_owner,
    refuse_cross_site,
    refuse_haste,
    refuse_host,
    refuse_key,
)

NO_KEY = Refusal(400, '{"message":"Please provide an API key in header"}\n', JSON)
BAD_KEY = Refusal(403, '{"message":"The provided API key is not valid"}\n', JSON)
LOOPBACK = "127.0.0.1"
NAMED = Gate(hosts=frozenset({"fetch.example"}))
WILD = Gate(wildcard=True)


@pytest.mark.parametrize(
    ("gate", "host", "bound"),
    [
        (Gate(), "127.0.0.1", LOOPBACK),
        (Gate(), "127.0.0.1:5555", LOOPBACK),
        (Gate(), "localhost", LOOPBACK),
        (Gate(), "LocalHost:5555", LOOPBACK),
        (Gate(), "localhost", None),
        (Gate(), "localhost:", LOOPBACK),
        (Gate(), "localhost:65535", LOOPBACK),
        (Gate(), "[::1]", "::1"),
        (Gate(), "[::1]:5555", "::1"),
        (NAMED, "fetch.example", LOOPBACK),
        (NAMED, "FETCH.example:80", LOOPBACK),
        (WILD, "192.0.2.7:5555", LOOPBACK),
        (WILD, "[2001:db8::1]", LOOPBACK),
    ],
)
def test_a_host_that_means_us_is_answered(gate: Gate, host: str, bound: str | None) -> None:
    assert refuse_host(gate, host, lambda: bound) is None


@pytest.mark.parametrize(
    ("gate", "host", "bound"),
    [
        (Gate(), "127.0.0.2", LOOPBACK),
        (Gate(), "127.0.0.1", "192.0.2.1"),
        (Gate(), "127.0.0.1", None),
        (Gate(), "127.1", LOOPBACK),  # other spellings are what no browser sends
        (Gate(), "2130706433", LOOPBACK),
        (WILD, "2130706433", LOOPBACK),
        (Gate(), "[::1]", LOOPBACK),
        (Gate(), "[::2]:5555", "::1"),
        (Gate(), "rebound.example", LOOPBACK),
        (WILD, "rebound.example", LOOPBACK),
        (NAMED, "www.fetch.example", LOOPBACK),
        (NAMED, "fetch.example.evil.example", LOOPBACK),
        (Gate(), "localhost.evil.example", LOOPBACK),
        (Gate(), "localhost@evil.example", LOOPBACK),
        (Gate(), "127.0.0.1:80@evil.example", LOOPBACK),
        (Gate(), ":5555", LOOPBACK),
        (Gate(), "[::1", "::1"),
        (Gate(), "localhost:http", LOOPBACK),
        (Gate(), "localhost:123456", LOOPBACK),
        (Gate(), "localhost:5555'$(id)", LOOPBACK),
        (Gate(), "localhost:\u0665", LOOPBACK),
        (Gate(), "localhost;id", LOOPBACK),
        (Gate(), "localhost\n", LOOPBACK),
        (Gate(), "localhost/", LOOPBACK),
        (WILD, "192.0.2.7:80:80", LOOPBACK),
        (WILD, "[::1]'", LOOPBACK),
        (Gate(), "[nonsense]", LOOPBACK),
    ],
)
def test_any_other_host_is_misdirected(gate: Gate, host: str, bound: str | None) -> None:
    refusal = refuse_host(gate, host, lambda: bound)
    assert refusal is not None
    assert refusal.status == 421
    assert "api.hosts" in refusal.body


@pytest.mark.parametrize(
    ("host", "is_absolute", "words"),
    [
        (
            "",
            False,
            "This request has no Host, and this service answers to its own names only: send",
        ),
        (":5555", False, "This service does not answer to a Host that is no name, with a port or"),
        ("a.example:80", False, "This service does not answer to the name a.example; whoever runs"),
        (
            "a.example:80",
            True,
            "This port is no forward proxy: that is at forward.port, 5556 unless it is set"
            " otherwise, and /fetch?url=... fetches a page here. As an API it does not answer to"
            " the name a.example; whoever runs it",
        ),
        ("", True, "This port is no forward proxy: that is at forward.port, 5556 unless it is set"),
    ],
)
def test_who_is_misdirected_hears_what_would_be_right(
    host: str, is_absolute: bool, words: str
) -> None:
    refusal = refuse_host(WILD, host, lambda: LOOPBACK, is_absolute=is_absolute)
    assert refusal is not None
    assert refusal.status == 421
    assert refusal.body.startswith(words)
    assert ("api.hosts" in refusal.body) is bool(host or is_absolute)


HOST = {"Host": "127.0.0.1:5555"}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://127.0.0.1:5555"},
        {"Origin": "HTTP://127.0.0.1:5555", "Sec-Fetch-Site": "same-origin"},
        {"Origin": "null", "Sec-Fetch-Site": "same-origin"},
    ],
)
def test_programs_and_our_own_pages_are_let_through(headers: dict[str, str]) -> None:
    assert refuse_cross_site(Gate(), HOST | headers) is None


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://127.0.0.1:5555"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1"},  # another port is another origin
        {"Origin": "http://127.0.0.1:5556"},
        {"Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"},
        {"Origin": "null"},
        {"Origin": "null", "Sec-Fetch-Site": "none"},
        {"Origin": "null", "Sec-Fetch-Site": "same-site"},
        {"Origin": ""},
        {"Origin": "http://["},
    ],
)
def test_what_other_pages_send_is_refused(headers: dict[str, str]) -> None:
    refusal = refuse_cross_site(Gate(), HOST | headers)
    assert refusal is not None
    assert refusal.status == 403


def test_an_origin_of_nothing_is_no_match_for_a_missing_host() -> None:
    assert refuse_cross_site(Gate(), {"Origin": "nonsense"}) is not None


KEYED = Gate(keys=frozenset({"k-1", "k-2", "schlüssel"}))


@pytest.mark.parametrize(
    ("gate", "headers", "bearer", "expected"),
    [
        (Gate(), {}, True, None),
        (Gate(), {"API-KEY": "whatever"}, True, None),
        (KEYED, {"API-KEY": "k-1"}, False, None),
        (KEYED, {"API-KEY": "k-2"}, True, None),
        (KEYED, {"API-KEY": "schlüssel".encode().decode("latin-1")}, True, None),
        (KEYED, {"Authorization": "Bearer k-1"}, True, None),
        (KEYED, {"Authorization": "bearer  k-2 "}, True, None),
        (KEYED, {}, True, NO_KEY),
        (KEYED, {"Authorization": "Bearer k-1"}, False, NO_KEY),
        (KEYED, {"Authorization": "Basic k-1"}, True, NO_KEY),
        (KEYED, {"Authorization": ""}, True, NO_KEY),
        (KEYED, {"API-KEY": ""}, True, BAD_KEY),
        (KEYED, {"API-KEY": "k-"}, True, BAD_KEY),
        (KEYED, {"API-KEY": "k-11"}, True, BAD_KEY),
        (KEYED, {"API-KEY": "K-1"}, True, BAD_KEY),
        (KEYED, {"API-KEY": "\u20ac"}, True, BAD_KEY),
        (KEYED, {"API-KEY": "k-0", "Authorization": "Bearer k-1"}, True, BAD_KEY),
        (KEYED, {"Authorization": "Bearer"}, True, BAD_KEY),
        (KEYED, {"Authorization": "Bearer k-0"}, True, BAD_KEY),
    ],
)
def test_the_key_is_asked_for_as_proxypool_does(
    gate: Gate, headers: dict[str, str], bearer: bool, expected: Refusal | None
) -> None:
    assert refuse_key(gate, headers, bearer=bearer) == expected


def test_both_refusals_of_a_key_are_json() -> None:
    assert {*json.loads(NO_KEY.body), *json.loads(BAD_KEY.body)} == {"message"}


class Hasty:
    """A limiter that remembers whom it is asked for, and refuses all but the first."""

    def __init__(self) -> None:
        self.asked: list[str | None] = []

    def ask(self, key: str | None) -> Refusal | None:
        self.asked.append(key)
        return Refusal(429, "slow down", retry_after=3) if len(self.asked) > 1 else None


@pytest.mark.parametrize(
    ("headers", "keys", "bearer", "key"),
    [
        ({"API-KEY": "k"}, {"k"}, True, "k"),
        ({"Authorization": "Bearer k"}, {"k"}, True, "k"),
        ({"Authorization": "Bearer theirs", "API-KEY": "k"}, {"k"}, False, "k"),
        ({"API-KEY": "\xc3\xa9"}, {"é"}, True, "é"),
        ({"API-KEY": "k"}, set(), True, None),  # none is asked for
        ({}, set(), True, None),
    ],
)
def test_who_asks_is_told_to_the_limiter(
    headers: dict[str, str], keys: set[str], bearer: bool, key: str | None
) -> None:
    limiter = Hasty()
    gate = Gate(keys=frozenset(keys), limiter=limiter)
    assert refuse_haste(gate, headers, bearer=bearer) is None
    assert limiter.asked == [key]
    refusal = refuse_haste(gate, headers, bearer=bearer)
    assert refusal is not None
    assert (refusal.status, refusal.retry_after) == (429, 3)


def test_without_a_limiter_nobody_asks_too_often() -> None:
    assert refuse_haste(Gate(), {}, bearer=True) is None


@pytest.mark.parametrize(
    ("headers", "bearer", "name"),
    [
        ({"API-KEY": "k-1"}, False, "ann"),
        ({"API-KEY": "k-2"}, False, ""),
        ({"API-KEY": "schlüssel".encode().decode("latin-1")}, False, "bob"),
        ({"Authorization": "Bearer k-1"}, True, "ann"),
        ({"Authorization": "Bearer k-1"}, False, ""),
        ({}, True, ""),
    ],
)
def test_a_key_has_its_name(headers: dict[str, str], bearer: bool, name: str) -> None:
    gate = replace(KEYED, names={"k-1": "ann", "schlüssel": "bob"})
    assert find_owner(gate, headers, bearer=bearer) == name
    assert find_owner(Gate(), headers, bearer=bearer) == ""
