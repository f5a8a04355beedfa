from base64 import b64encode

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
