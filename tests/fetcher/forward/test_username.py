import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetcher.errors import TaskError
from fetcher.forward.model import PLAIN, Steering
from fetcher.forward.username import (
    MOST_CREDENTIALS,
    MOST_LIFETIME,
    decode,
    find_key,
    read_credentials,
    read_user,
)
from fetcher.session.model import MOST_NAME

WEEK = 7 * 24 * 3600.0


@pytest.mark.parametrize(
    ("name", "steering"),
    [
        # nothing is asked for
        ("", PLAIN),
        ("user", PLAIN),
        ("scrapy", PLAIN),
        ("someone@site.test", PLAIN),
        ("üser", PLAIN),
        ("Session", PLAIN),
        # all of it
        (
            "user-session-ab12-lifetime-10-country-us-site-zhihu",
            Steering(session="ab12", lifetime=600.0, country="US", site="zhihu"),
        ),
        (
            "user-strict-1-sticky-target-polite-debug",
            Steering(is_strict=True, is_sticky=True, is_polite=True, is_debug=True),
        ),
        # the user's own word may be missing, or empty
        ("session-ab12", Steering(session="ab12")),
        ("-session-ab12", Steering(session="ab12")),
        ("debug", Steering(is_debug=True)),
        ("polite-debug", Steering(is_polite=True, is_debug=True)),
        ("cc-de", Steering(country="DE")),
        # in any order, and a value may be a word of ours
        ("user-debug-session-debug", Steering(session="debug", is_debug=True)),
        ("u-country-de-session-session", Steering(session="session", country="DE")),
        # what gateways call it
        ("u-sessid-a-sesstime-5-cc-de", Steering(session="a", lifetime=300.0, country="DE")),
        ("u-sessid-a-sessionduration-1", Steering(session="a", lifetime=60.0)),
        # values
        ("u-session-A_b.9", Steering(session="A_b.9")),
        (f"u-session-{'x' * (MOST_NAME - 1)}", Steering(session="x" * (MOST_NAME - 1))),
        (f"u-session-{'x' * MOST_NAME}", Steering(session="x" * MOST_NAME)),
        ("u-lifetime-0", Steering(lifetime=0.0)),
        ("u-lifetime-0.5-session-a", Steering(session="a", lifetime=30.0)),
        (f"session-a-lifetime-{MOST_LIFETIME - 1}", Steering(session="a", lifetime=WEEK - 60)),
        (f"session-a-lifetime-{MOST_LIFETIME}", Steering(session="a", lifetime=WEEK)),
        ("u-sticky-target-lifetime-1", Steering(is_sticky=True, lifetime=60.0)),
        ("u-strict-0", Steering(is_strict=False)),
        ("u-country-dE", Steering(country="DE")),
        ("u-site-books.x_1", Steering(site="books.x_1")),
    ],
)
def test_a_user_name_says_what_it_asks_for(name: str, steering: Steering) -> None:
    assert read_user(name) == steering


@pytest.mark.parametrize(
    ("name", "part"),
    [
        # unknown words are named
        ("my-user", "asks for 'user', which is unknown"),
        ("user-session-ab12-colour-red", "asks for 'colour', which is unknown"),
        ("user-session-a-b-c", "asks for 'b', which is unknown"),
        ("user-Session-a", "asks for 'Session', which is unknown"),
        ("user-s\u00e9ssion-a", r"asks for 's\xe9ssion', which is unknown"),
        ("user-" + "x" * 1000, f"asks for '{'x' * 64}', which is unknown"),
        ("user-", "has an empty word in it"),
        ("user--session-a", "has an empty word in it"),
        ("user-debug-", "has an empty word in it"),
        # values that are missing
        ("session", "session: its value is missing"),
        ("user-session", "session: its value is missing"),
        ("user-session-", "session: its value is missing"),
        ("user-session--debug", "session: its value is missing"),
        ("user-cc", "cc: its value is missing"),
        ("user-strict", "strict: its value is missing in the user name, as in strict-1"),
        ("user-sticky", "sticky: its value is missing in the user name, as in sticky-target"),
        # values that are none
        ("user-session-a b", "session: expected letters, digits, _ and . as value, got 'a b'"),
        ("user-session-a\u0661", r"session: expected letters, digits, _ and . as value, got 'a\u0"),
        ("user-site-a/b", "site: expected letters"),
        (f"u-session-{'x' * (MOST_NAME + 1)}", "session: expected at most 64 characters, got 6"),
        ("u-lifetime-ten", "lifetime: expected minutes, from 0 to 10080, got 'ten'"),
        ("u-lifetime-1e2", "lifetime: expected minutes"),
        ("u-lifetime-.5", "lifetime: expected minutes"),
        ("u-lifetime-inf", "lifetime: expected minutes"),
        ("u-sesstime-10m", "lifetime: expected minutes"),
        (f"u-lifetime-{MOST_LIFETIME + 1}", "lifetime: expected minutes"),
        (f"u-lifetime-{'9' * 5000}", "lifetime: expected minutes"),
        ("u-lifetime--5", "lifetime: its value is missing"),
        ("u-country-usa", "country: expected two letters such as de, got 'usa'"),
        ("u-country-u1", "country: expected two letters"),
        ("u-cc-u", "country: expected two letters"),
        ("u-strict-2", "strict: expected 0 or 1, got '2'"),
        ("u-strict-yes", "strict: expected 0 or 1"),
        ("u-sticky-host", "sticky: expected sticky-target, got sticky-host"),
        # of no session
        ("u-lifetime-10", "lifetime: it says something of a session, and the user name asks for"),
        ("u-sesstime-10-country-us", "lifetime: it says something of a session"),
        ("u-strict-1", "strict: it says something of a session"),
        # twice
        ("u-session-a-session-a", "session: it is asked for twice"),
        ("u-session-a-sessid-b", "sessid: it is asked for twice"),
        ("u-debug-debug", "debug: it is asked for twice"),
        ("u-strict-0-strict-1", "strict: it is asked for twice"),
    ],
)
def test_what_a_user_name_cannot_ask_for_is_named(name: str, part: str) -> None:
    with pytest.raises(TaskError) as caught:
        read_user(name)
    text = str(caught.value)
    assert part in text
    assert text.isascii()
    assert len(text) < 400


@given(st.text())
def test_any_name_is_read_or_refused_in_words(name: str) -> None:
    try:
        read_user(name)
    except TaskError as error:
        assert str(error).isascii()


def basic(text: str, charset: str = "utf-8") -> bytes:
    return b"Basic " + base64.b64encode(text.encode(charset))


LONGEST = "x" * ((MOST_CREDENTIALS - len("Basic ")) // 4 * 3 - 1) + ":"


@pytest.mark.parametrize(
    ("value", "credentials"),
    [
        (basic("user:key"), ("user", "key")),
        (basic(":key"), ("", "key")),
        (basic("user:"), ("user", "")),
        (basic(":"), ("", "")),
        (basic("user:a:b"), ("user", "a:b")),
        (basic("u:k").replace(b"Basic ", b"bAsIc   "), ("u", "k")),
        (b" " + basic("u:k") + b"\t", ("u", "k")),
        (basic("us\u00e9r:k\u0436y"), ("us\u00e9r", "k\u0436y")),
        (basic("us\u00e9r:k\u00e9y", "latin-1"), ("us\u00e9r", "k\u00e9y")),
        (basic(LONGEST), (LONGEST[:-1], "")),
        (basic("xxx" + LONGEST), None),
        (basic("user"), None),
        (basic("user\n:key"), None),
        (basic("user:key\x7f"), None),
        (b"", None),
        (b"Basic", None),
        (b"Basic ", None),
        (b"Basic dTpr=", None),
        (b"Basic dTp", None),
        (b"Basic dTpr dTpr", None),
        (b"Basic\tdTpr", None),
        (b"Basicx dTpr", None),
        (b"Basic d\xffpr", None),
        (b"Bearer dTpr", None),
        (b"Digest username=u", None),
    ],
)
def test_basic_credentials_are_read(value: bytes, credentials: tuple[str, str] | None) -> None:
    assert read_credentials(value) == credentials


def test_the_longest_credentials_are_at_the_limit() -> None:
    assert MOST_CREDENTIALS - 4 < len(basic(LONGEST)) <= MOST_CREDENTIALS


@pytest.mark.parametrize(
    ("text", "meant"),
    [(b"", ""), (b"a", "a"), ("\u0436".encode(), "\u0436"), (b"\xe9", "\u00e9")],
)
def test_bytes_are_utf_8_or_else_latin_1(text: bytes, meant: str) -> None:
    assert decode(text) == meant


KEYS = {"ann": "secret", "bob": "s\u00e9cret", "half": "\udcff"}


@pytest.mark.parametrize(
    ("password", "name"),
    [
        ("secret", "ann"),
        ("s\u00e9cret", "bob"),
        ("\udcff", "half"),
        ("secre", None),
        ("secret1", None),
        ("Secret", None),
        ("", None),
    ],
)
def test_a_key_is_found_by_its_password(password: str, name: str | None) -> None:
    assert find_key(KEYS, password) == name


def test_where_there_is_no_key_none_is_found() -> None:
    assert find_key({}, "") is None
