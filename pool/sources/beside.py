"""What the words beside a proxy say of it: its schemes, country and level, its user and password.

A decision module: the texts before and behind a proxy in its row come in. Words that nobody can
tell apart from a user and a password make the proxy doubtful: it may not be taken without them.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from typing import Final, Literal, NamedTuple

from pool.sources.found import (
    Anonymity,
    is_protocol,
    read_anonymity,
    read_anonymity_cell,
    read_country,
    read_mentioned,
)

# They stand where HTML tags were: those of table rows, of table cells, and all others; text never
# holds them.
ROW: Final = "\x1e"
COLUMN: Final = "\x1d"
CELL: Final = "\x1f"

Kind = Literal["claim", "plain", "number", "place", "pair", "joined", "word", "table"]


class Beside(NamedTuple):
    """`schemes` as `read_schemes` has them; `doubtful`: there may be credentials in it;
    `has_more`: there are words in it that say nothing of that."""

    schemes: tuple[str, ...] | None = None
    country: str | None = None
    anonymity: Anonymity | None = None
    username: str | None = None
    password: str | None = None
    doubtful: bool = False
    has_more: bool = False


class _Word(NamedTuple):
    """What a cell holds that claims nothing."""

    kind: Kind
    text: str
    is_prose: bool = False


class _Cell(NamedTuple):
    """A word, or several that fill a column."""

    text: str
    is_tag: bool = False  # between tags that make no table: buttons, links, sentences
    is_prose: bool = False  # a word before a proxy, as of a sentence


_COLUMNS: Final = re.compile(r"[\t,;|\x1d]|[ ]{2,}")
_TAGS: Final = re.compile(r"\x1f+")
_SPACE: Final = re.compile(r"[ \r\n\xa0]+")
_VERSION: Final = re.compile(r"(?i)\b(socks)[ ]+v?([45][ah]?)(?![\w.])")
_LISTED: Final = re.compile(r"\[([^\[\]]{1,80})\]")  # "[SOCKS5, HTTP: High]"
_NOTE: Final = re.compile(r"\s(?:#|//)\s")
_OPENED: Final = {")": "(", "]": "[", "}": "{", ">": "<", '"': '"', "'": "'"}
_SIGNS: Final = "+-,;|#@=&!$*~<>([{\"'`^_ \t.:/\\"

# user: u password: p, -u u:p, --proxy-user=u:p; the names of `fields` as people write them here.
_USER: Final = re.compile(
    r"""(?<![A-Za-z]) (?: proxy[ _-]?|auth[ _-]?)? (?:user(?:[ _-]?name)?|login|usr|uname|account)
    ["']? [ ]? [:=] [ ]? ["']? ([^\s,;|"'&\x1d-\x1f]{1,255})""",
    re.VERBOSE | re.IGNORECASE,
)
_PASSWORD: Final = re.compile(
    r"""(?<![A-Za-z]) (?: proxy[ _-]?|auth[ _-]?)? (?:password|passwd|pass|pwd|pw|secret)
    ["']? [ ]? [:=] [ ]? ["']? ([^\s,;|"'&\x1d-\x1f]{1,255})""",
    re.VERBOSE | re.IGNORECASE,
)
_OPTION: Final = re.compile(
    r"[ ]*(?<![\w-])(?:-u|-U|--user|--proxy-user)(?=[\s=])|(?<![\w-])(?:auth|credentials?)[ ]?[:=]",
    re.IGNORECASE,
)

_PAIR: Final = re.compile(r"([^\s:]{1,255}):+(\S{1,255})")
_JOINED: Final = re.compile(r"[^\W_]\S{0,254}?[:/;@=|#&\\~^,+$%*!<>]\S{0,253}[^\s.!?:]")
_NUMBER: Final = re.compile(r"[0-9.:]+")
_MEASURE: Final = re.compile(
    r"[<>~≈+-]?[0-9][0-9.,:/+TZ-]*(?:%|°|[μmn]?s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d"
    r"|days?|w|[kmg]i?b(?:it)?(?:/s|ps)?|am|pm|st|nd|rd|th)?\.?",
    re.IGNORECASE,
)
_HEX: Final = re.compile(r"[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?:/[0-9]{1,3})?")
_ASN: Final = re.compile(r"AS[0-9]{1,10}", re.IGNORECASE)
_PLACE: Final = re.compile(r"[^\W\d_a-z][^\W\d_]*(?:['\u2019.-][^\W\d_]+)*\.?")
_LABELLED: Final = re.compile(r"([A-Za-z_-]{2,20})[:=]\S*")
_LEVELLED: Final = re.compile(r"([A-Za-z0-9]{4,7}):(\S*)")

# What lists write beside proxies, and no gateway gives out as a user or a password.
_PLAIN_WORDS: Final = (
    "proxy proxies server servers address ip ipv4 ipv6 port host type protocol protocols via "
    "use using with the an at in on is of for and or to by from this that it new old return "
    "direct yes no true false null none nil nan unknown ok na n/a - -- alive dead online "
    "offline up down active inactive working works valid invalid checked tested good bad fast "
    "slow medium low high free public paid premium private residential datacenter dc mobile isp "
    "hosting google ssl tls https connect get post cookies referer ago last just now today "
    "never always min ms sec second seconds minute minutes hour hours day days week weeks "
    "country city region speed ping delay latency uptime anonymity level anon status test check "
    "copy add list top best tcp udp ssl:yes rotating static sticky dedicated shared world "
    "proxyserver"
)
_PLAIN: Final = frozenset(_PLAIN_WORDS.split())
_LABELS_WORDS: Final = (
    "ssl tls google speed ping delay latency uptime country cc city region isp asn as org geo "
    "time last checked type protocol protocols scheme level anonymity anon status score alive "
    "works source url connect get post location rtt response responsetime date updated id no "
    "num count reliability connect port ip host"
)
_LABELS: Final = frozenset(_LABELS_WORDS.split())


@lru_cache(4096)
def read_beside(before: str, behind: str, *, strict: bool = False) -> Beside:
    """`strict`: the row was given by hand and is no sentence: of two words that nobody knows one
    may always be a password."""
    texts = [_cut_note(before), _cut_note(behind)]
    named = _read_named(" \t ".join(texts))
    if named is not None:
        texts = [_PASSWORD.sub(" ", _USER.sub(" ", text)) for text in texts]
    has_option = any(_OPTION.search(text) for text in texts)
    texts = [_OPTION.sub("", text) for text in texts]
    cells = [*_cut(texts[0], joined=1), *_cut(texts[1], joined=0)]
    beside, words = _classify(cells)
    pairs = [word.text for word in words if word.kind == "pair"]
    if named is not None:
        return beside._replace(username=named[0], password=named[1], doubtful=bool(pairs))
    if len(pairs) == 1:
        pair = _PAIR.fullmatch(pairs[0])
        assert pair is not None
        return beside._replace(username=pair[1], password=pair[2])
    one_named = any(name.search(text) for name in (_USER, _PASSWORD) for text in texts)
    doubtful = bool(pairs) or one_named or has_option or _is_doubtful(words, strict)
    has_more = any(word.kind in ("word", "pair", "joined") for word in words)
    return beside._replace(doubtful=doubtful, has_more=has_more)


def _is_secret(word: str) -> bool:
    """Whether a word of a comment is no word of a language."""
    return bool(_PAIR.fullmatch(word)) or (_is_odd(word) and not _is_measure(word))


def _cut_note(text: str) -> str:
    """Without a comment, unless that holds what may be credentials."""
    head, mark, note = text.partition(found[0]) if (found := _NOTE.search(text)) else (text, "", "")
    words = _tighten(note).split()
    return text if mark and len(words) < 3 and any(map(_is_secret, words)) else head


def _read_named(text: str) -> tuple[str, str] | None:
    user, password = _USER.search(text), _PASSWORD.search(text)
    if user is None or password is None or user.start() == password.start():
        return None
    return user[1], password[1]


def _cut(text: str, joined: int) -> Iterator[_Cell]:
    """The cells of a text; the `joined` end of it touches the proxy, so that its words there are
    such of the row, and no column of several."""
    parts = _TAGS.split(_LISTED.sub(lambda found: found[0].replace(",", " "), text))
    for n, part in enumerate(parts):
        is_tag = len(parts) > 1 and n != (0 if joined == 0 else len(parts) - 1)
        cells = _COLUMNS.split(part) if not is_tag or COLUMN in part else [part]
        last = len(cells) - 1
        for m, cell in enumerate(cells):
            touches = not is_tag and m == (0 if joined == 0 else last)
            if touches or not cell.strip():
                for word in _SPACE.split(_tighten(cell)):
                    yield _Cell(word, is_prose=joined == 1)
            else:
                yield _Cell(cell.strip(), is_tag and COLUMN not in part)


def _tighten(text: str) -> str:
    """`(user / secret)` and `SOCKS 5` as one word."""
    text = _VERSION.sub(r"\1\2", text)
    return re.sub(r"(?<=[^\W]) ([:/=@]) (?=[^\W])", r"\1", text)


def _classify(cells: list[_Cell]) -> tuple[Beside, list[_Word]]:
    """What they claim, and those that claim nothing."""
    schemes: tuple[str, ...] | None = None
    country: str | None = None
    anonymity: Anonymity | None = None
    words: list[_Word] = []
    is_listing = False
    for cell in cells:
        text = _strip(cell.text)
        if not text:
            continue
        if (protocols := _read_protocols(cell, text)) is not None:
            # Those that stand side by side are all meant.
            schemes = (*(schemes or ()), *protocols) if is_listing or not schemes else schemes
            is_listing = True
            if (level := _LEVELLED.fullmatch(text)) and anonymity is None:
                anonymity = read_anonymity_cell(level[2])
            continue
        is_listing = False
        bare = text.rstrip(")]}>")
        if bare.isupper() and (code := read_country(bare)):
            country = country or code
            continue
        if level_name := read_anonymity_cell(bare):
            anonymity = anonymity or level_name
            words.append(_Word("table", text))
            continue
        words.append(_Word(_kind(text, cell.is_tag), text, cell.is_prose))
    return Beside(schemes and tuple(dict.fromkeys(schemes)), country, anonymity), words


def _read_protocols(cell: _Cell, text: str) -> tuple[str, ...] | None:
    """The schemes that a cell names; None if it is about something else."""
    if " " in text:
        # "socks5 (12 ms)" and "HTTP, SOCKS5", but no sentence about proxies.
        return read_mentioned(text) if len(text) <= 30 and not cell.is_tag else _read_whole(text)
    if is_protocol(text):
        return read_mentioned(text)
    levelled = _LEVELLED.fullmatch(text)
    if levelled and is_protocol(levelled[1]) and _is_note(levelled[2]):
        return read_mentioned(levelled[1])
    labelled = _LABELLED.fullmatch(text)
    if labelled and labelled[1].lower().removeprefix("proxy-") in _OF_SCHEME:
        return read_mentioned(text)
    return None


_OF_SCHEME: Final = frozenset(["type", "protocol", "protocols", "scheme", "version"])


def _read_whole(text: str) -> tuple[str, ...] | None:
    return read_mentioned(text) if is_protocol(text) else None


def _is_note(text: str) -> bool:
    """What tools put behind a protocol: its level, a port, an answer."""
    return text == "" or text.isdigit() or text.lower() in _PLAIN or bool(read_anonymity(text))


def _strip(text: str) -> str:
    """Without the signs that lists adorn words with. Those at the end may be a password's: only
    closed brackets and ends of sentences go."""
    text = text.strip()
    while text and (opened := _OPENED.get(text[-1])) and opened in text[:-1]:
        text = text[:-1].replace(opened, "", 1).strip()
    text = text.lstrip(_SIGNS)
    return text.rstrip(" ,;|+-") if len(text) > 1 else text


def _kind(text: str, is_tag: bool) -> Kind:
    lower = text.lower()
    if lower in ("yes", "no"):
        return "table"
    if " " in text:
        words = text.split()
        is_joined = _may_be_two(words) or any(_kind(word, False) == "pair" for word in words)
        return "joined" if is_joined and not is_tag else "table"
    if _NUMBER.fullmatch(text):
        return "number"
    if _is_measure(text):
        return "claim"
    if lower.strip(".!?:()[]=") in _PLAIN or (text[-1] == "=" and "proxy" in lower):
        return "plain"
    if (label := _LABELLED.fullmatch(text)) and label[1].lower() in _LABELS:
        return "claim"
    if "://" in text:
        return "joined" if "@" in text else "claim"
    if (pair := _PAIR.fullmatch(text)) and not _NUMBER.fullmatch(pair[1] + pair[2]):
        return "pair"
    if _JOINED.fullmatch(text):
        return "claim" if is_tag else "joined"
    if is_tag:
        return "claim"
    return "place" if _PLACE.fullmatch(text) else "word"


def _may_be_two(words: list[str]) -> bool:
    """Whether the words of a column are a user and a password, and nothing of a language."""
    words = [word for word in words if word not in (":", "/", "=", "@")]
    return len(words) == 2 and not any(
        _PLACE.fullmatch(word) or _is_measure(word) or word.lower() in _PLAIN for word in words
    )


def _is_measure(text: str) -> bool:
    return bool(_MEASURE.fullmatch(text) or _HEX.fullmatch(text) or _ASN.fullmatch(text))


def _is_doubtful(words: list[_Word], strict: bool) -> bool:
    said = [word for word in words if word.kind not in ("claim", "table")]
    kinds = [word.kind for word in said if word.kind != "plain"]
    is_table = len(said) < len([word for word in words if word.kind != "claim"])
    if len(kinds) == 1 and not is_table:
        [one] = (word for word in said if word.kind != "plain")
        if one.kind == "joined" or (one.kind == "word" and _may_be_key(one.text, strict)):
            return True
    if len(said) == 2 and not is_table and kinds.count("number") < 2:
        odd = any(_is_odd(word.text) for word in said if word.kind == "word")
        if not kinds and any(word.is_prose for word in said):
            return False
        return strict or odd or (len(kinds) == 2 and "word" in kinds)
    return any(_are_credentials(one, two, strict) for one, two in pairwise(words))


def _may_be_key(word: str, strict: bool) -> bool:
    """Whether one word is a user alone, or a user and a password that a sign joins."""
    return _is_odd(word) and (strict or any(sign in word for sign in "-_~+.$%^&*!"))


def _are_credentials(one: _Word, two: _Word, strict: bool) -> bool:
    """Whether two neighbours in a row of more are likely a user and a password."""
    if not strict and (one.is_prose or two.is_prose):
        return False
    if one.kind != "word":
        return one.kind == "place" and two.kind == "word" and _is_odd(two.text)
    if two.kind not in ("word", "number", "place"):
        return False
    if _is_odd(one.text) or (two.kind == "word" and _is_odd(two.text)):
        return True
    return strict and (two.kind == "word" or (two.kind == "number" and len(two.text) >= 4))


def _is_odd(word: str) -> bool:
    """Whether a word mixes letters with digits or with signs that no name has."""
    return any(map(str.isalpha, word)) and not word.translate(_OF_NAMES).isalpha()


_OF_NAMES: Final = dict.fromkeys(map(ord, "-'.\u2019()!?"))
