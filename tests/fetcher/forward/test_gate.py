from base64 import b64encode
from collections.abc import Collection

import pytest

from fetcher.forward.gate import Gate
from fetcher.forward.model import Caller, Refused, Steering

KEYS = {"anna": "s3cret", "ben": "pässwort"}


def basic(text: str) -> bytes:
    return b"Basic " + b64encode(text.encode())


@pytest.mark.parametrize(
    ("keys", "authorization", "caller"),
    [
        ({}, None, Caller()),
        ({}, b"Bearer x", Caller()),
        ({}, basic("scrapy:"), Caller()),
        ({}, basic("session-a:whatever"), Caller(steering=Steering(session="a"))),
        (KEYS, basic("scrapy:s3cret"), Caller(key="anna")),
        (KEYS, basic(":pässwort"), Caller(key="ben")),
        (KEYS, basic("x-polite:s3cret"), Caller(key="anna", steering=Steering(is_polite=True))),
    ],
)
def test_who_comes_in(keys: dict[str, str], authorization: bytes | None, caller: Caller) -> None:
    gate = Gate(keys)
    assert gate.needs_key is bool(keys)
    assert gate.admit(authorization) == caller
    assert gate.admit(authorization) == caller


@pytest.mark.parametrize(
    ("keys", "authorization", "status", "words"),
    [
        (KEYS, None, 407, "who you are"),
        (KEYS, basic("anna:"), 407, "who you are"),
        (KEYS, basic("s3cret:anna"), 407, "no key of this proxy"),
        (KEYS, basic("anna:S3cret"), 407, "no key of this proxy"),
        (KEYS, b"Bearer s3cret", 407, "Basic"),
        (KEYS, b"Basic !!!", 407, "Basic"),
        (KEYS, basic("x-nonsense:s3cret"), 400, "nonsense"),
        ({}, basic("x-nonsense:"), 400, "nonsense"),
    ],
)
def test_who_does_not(
    keys: dict[str, str], authorization: bytes | None, status: int, words: str
) -> None:
    refused = Gate(keys).admit(authorization)
    assert isinstance(refused, Refused)
    assert refused.status == status
    assert words in refused.sentence
    assert refused.sentence.isascii() and "s3cret" not in refused.sentence


@pytest.mark.parametrize("sites", [None, ("shop", "universal"), ["x", "shop"]])
def test_a_site_that_there_is_may_be_named(sites: Collection[str] | None) -> None:
    gate = Gate({}, sites)
    assert gate.admit_user("u-site-shop", "") == Caller(steering=Steering(site="shop"))
    assert gate.admit_user("u", "") == Caller()


@pytest.mark.parametrize(
    ("count", "told"),
    [
        (1, "there are s00"),
        (9, "there are s00, s01, s02, s03, s04, s05, s06, s07, s08"),
        (10, "there are s00, s01, s02, s03, s04, s05, s06, s07, s08, s09"),
        (11, "there are s00, s01, s02, s03, s04, s05, s06, s07, s08, s09 and 1 more"),
    ],
)
def test_a_site_that_there_is_not_is_refused_by_name(count: int, told: str) -> None:
    gate = Gate(KEYS, [f"s{number:02}" for number in reversed(range(count))])
    refused = gate.admit(basic("u-site-shup:s3cret"))
    assert isinstance(refused, Refused)
    assert (refused.status, refused.error) == (400, "http_request_error")
    assert refused.sentence == f"site: there is none called 'shup': {told}"
    wrong = gate.admit(basic("u-site-shup:nobody"))
    assert isinstance(wrong, Refused)
    assert wrong.status == 407  # who has no key hears of no site
    long = gate.admit_user(f"u-site-{'x' * 1000}", "s3cret")
    assert isinstance(long, Refused)
    assert len(long.sentence) < 300
