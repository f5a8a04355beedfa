"""What a user name asks for, and who gave it.

A decision module. A user name is one free word, which may be missing, and then words of ours with
their values, joined by ``-``: ``scrapy-session-ab12-country-us``. The password is the key. Clients
that were written for a paid gateway find the words that such gateways have.
"""

import re
from binascii import a2b_base64
from collections.abc import Callable, Mapping
from hmac import compare_digest
from typing import Any, Final

from fetcher.errors import TaskError
from fetcher.forward.model import PLAIN, Steering
from fetcher.session.model import VALUE, read_name

MOST_LIFETIME: Final = 7 * 24 * 60  # minutes: a week, as the most patient gateway has
MOST_CREDENTIALS: Final = 4096  # bytes of a header's value

_MINUTES: Final = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?")
_COUNTRY: Final = re.compile(r"[A-Za-z]{2}")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_BASIC: Final = re.compile(rb"[ \t]*basic +([A-Za-z0-9+/]+={0,2})[ \t]*", re.IGNORECASE)

_SHOWN: Final = 64  # characters of what is refused


def _lifetime(value: str) -> float:
    if not _MINUTES.fullmatch(value) or float(value) > MOST_LIFETIME:
        expected = f"expected minutes, from 0 to {MOST_LIFETIME}"
        raise TaskError(f"lifetime: {expected}, got {_show(value)}")
    return 60 * float(value)


def _country(value: str) -> str:
    if not _COUNTRY.fullmatch(value):
        raise TaskError(f"country: expected two letters such as de, got {_show(value)}")
    return value.upper()


def _strict(value: str) -> bool:
    if value not in ("0", "1"):
        raise TaskError(f"strict: expected 0 or 1, got {_show(value)}")
    return value == "1"


def _sticky(value: str) -> bool:
    if value != "target":
        raise TaskError(f"sticky: expected sticky-target, got sticky-{value[:_SHOWN]}")
    return True


# word -> the field of `Steering`, and what makes its value
_PAIRS: Final[Mapping[str, tuple[str, Callable[[str], Any]]]] = {
    "session": ("session", read_name),
    "sessid": ("session", read_name),
    "lifetime": ("lifetime", _lifetime),
    "sesstime": ("lifetime", _lifetime),
    "sessionduration": ("lifetime", _lifetime),
    "country": ("country", _country),
    "cc": ("country", _country),
    "site": ("site", str),
    "strict": ("is_strict", _strict),
    "sticky": ("is_sticky", _sticky),
}
_FLAGS: Final[Mapping[str, str]] = {"polite": "is_polite", "debug": "is_debug"}
_ONLY: Final[Mapping[str, str]] = {"strict": "1", "sticky": "target"}  # words that have one value
_KNOWN: Final = (
    "session-ID, lifetime-MINUTES, country-CC, site-NAME, strict-1, sticky-target, polite, debug"
)


def read_user(name: str) -> Steering:
    """What the user name asks for. Raises `TaskError` with a sentence, in ASCII, that names the
    word which is unknown, given twice or has no good value.

    The first word is the user's own unless it is one of ours: ``session-ab12`` alone will do.
    """
    words = name.split("-")
    if words[0] not in _PAIRS and words[0] not in _FLAGS:
        del words[0]
    if not words:
        return PLAIN
    fields: dict[str, Any] = {}
    left = iter(words)
    for word in left:
        if word in _FLAGS:
            field, value = _FLAGS[word], True
        elif word in _PAIRS:
            field, read = _PAIRS[word]
            value = read(_value(word, next(left, "")))
        else:
            raise TaskError(_explain_unknown(word))
        if field in fields:
            raise TaskError(f"{word}: it is asked for twice in the user name")
        fields[field] = value
    steering = Steering(**fields)
    _check_session(steering)
    return steering


def _check_session(steering: Steering) -> None:
    """What is asked of a session is asked for nothing where there is none."""
    if steering.session is not None or steering.is_sticky:
        return
    for word, wanted in (("lifetime", steering.lifetime), ("strict", steering.is_strict)):
        if wanted:
            raise TaskError(
                f"{word}: it says something of a session, and the user name asks for none: add"
                " session-ID or sticky-target"
            )


def _value(word: str, value: str) -> str:
    if not value:
        example = f"{word}-{_ONLY.get(word, 'VALUE')}"
        raise TaskError(f"{word}: its value is missing in the user name, as in {example}")
    if not VALUE.fullmatch(value):
        raise TaskError(f"{word}: expected letters, digits, _ and . as value, got {_show(value)}")
    return value


def _explain_unknown(word: str) -> str:
    what = f"asks for {_show(word)}, which is unknown" if word else "has an empty word in it"
    return f"the user name {what}: behind its first '-' it can have {_KNOWN}"


def _show(text: str) -> str:
    return f"{text[:_SHOWN]!a}"


def read_credentials(value: bytes) -> tuple[str, str] | None:
    """User and password out of the value of a Proxy-Authorization (RFC 7617); None if it is none
    of the scheme Basic, or is not as that says."""
    match = _BASIC.fullmatch(value) if len(value) <= MOST_CREDENTIALS else None
    if match is None or len(match[1]) % 4:
        return None
    text = decode(a2b_base64(match[1]))
    user, colon, password = text.partition(":")
    return (user, password) if colon and not _CONTROL.search(text) else None


def decode(text: bytes) -> str:
    """What a client means, who may have it in UTF-8 or, as older ones do, in Latin-1."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("latin-1")


def find_key(keys: Mapping[str, str], password: str) -> str | None:
    """The name of the key that the password is. All are compared, whichever it is, so that the
    time this takes says nothing of it."""
    given = password.encode(errors="surrogatepass")
    found = None
    for name, key in keys.items():
        if compare_digest(key.encode(errors="surrogatepass"), given):
            found = name
    return found
