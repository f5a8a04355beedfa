"""What a list says about one proxy, in our words.

A decision module: nothing here is proven; lists err and lie, and only checks tell.
"""

import re
from collections.abc import Iterable
from itertools import islice
from typing import Final, Literal

import msgspec

from fetcher.proxy import Proxy
from pool.admission import admit, canonical

REPEATED: Final = 10  # times that a list may say the same, on the average

Anonymity = Literal["transparent", "anonymous", "elite"]


class Found(msgspec.Struct, frozen=True):
    """A proxy as a list has it. All but the proxy is a claim."""

    proxy: Proxy
    country: str | None = None  # ISO 3166-1 alpha-2, upper case
    anonymity: Anonymity | None = None


# A list's "https" means, by the field's custom, an HTTP proxy that can CONNECT: taken for TLS to
# the proxy, nearly every entry would fail. "connect" is hideip.me's word for the same.
# A bare "socks" is left out: to curl it is SOCKS4, to others SOCKS5.
_SCHEMES: Final = {
    "http": "http",
    "https": "http",
    "connect": "http",
    "socks4": "socks4",
    "socks4a": "socks4a",
    "socks5": "socks5",
    "socks5h": "socks5h",
}
_WORD: Final = re.compile(r"[a-z0-9]+")

_WORDS: Final[dict[Anonymity, str]] = {
    "transparent": "n,noa,no,none,transparent,non anonymous,level3,level 3,透明",
    "anonymous": "a,anm,anon,anonymous,distorting,medium,level2,level 2,匿名,普匿,普通匿名,半匿",
    "elite": "h,hia,high,elite,high anonymous,highly anonymous,high anonymity,level1,level 1,"
    "高匿,高匿名,高度匿名,超匿,超级匿名",
}
_ANONYMITY: Final = {word: level for level, words in _WORDS.items() for word in words.split(",")}
_GAPS: Final = re.compile(r"[\s_-]+")

# In a table they may be somebody's answer, speed or row number as well.
_AMBIGUOUS: Final = frozenset({"n", "no", "none", "a", "h", "high", "medium"})

# ISO 3166-1 8.1.3: AA, QM-QZ, XA-XZ and ZZ mean what each user likes; XK is everybody's Kosovo.
_USER_ASSIGNED: Final = re.compile(r"AA|Q[M-Z]|X[A-JL-Z]|ZZ")


def read_scheme(name: str) -> str | None:
    """The scheme that a list means by `name`; None if it is none of ours."""
    return _SCHEMES.get(name.strip().lower())


def read_schemes(claim: object) -> tuple[str, ...] | None:
    """The schemes in a field: ``Socks5``, ``Http, Https``, ``["socks4", "socks5"]``.

    None: the field says nothing. Empty: it names only what is not ours (``vmess``).
    """
    texts = claim if isinstance(claim, list) else [claim]
    words = [
        word for text in texts[:16] if isinstance(text, str) for word in _WORD.findall(text.lower())
    ]
    if not words:
        return None
    return tuple(dict.fromkeys(_SCHEMES[word] for word in words if word in _SCHEMES))


def read_anonymity(claim: object) -> Anonymity | None:
    """The level in a field, from any of the field's vocabularies (N/A/H, 高匿, Elite, ...)."""
    if not isinstance(claim, str):
        return None
    words = _GAPS.sub(" ", claim[:40].strip().lower()).rstrip("!")
    return _ANONYMITY.get(words.removesuffix("代理").removesuffix(" proxy").strip())


def read_scheme_cell(cell: str) -> tuple[str, ...]:
    """The schemes in the cell of a table whose columns nobody has named: all its words are such."""
    words = _WORD.findall(cell[:60].lower())
    if not all(word in _SCHEMES for word in words):
        return ()
    return tuple(dict.fromkeys(_SCHEMES[word] for word in words))


def read_anonymity_cell(cell: str) -> Anonymity | None:
    """The level in such a cell, if the word for it means nothing else."""
    return None if cell.lower() in _AMBIGUOUS else read_anonymity(cell)


def read_country(claim: object) -> str | None:
    """The ISO alpha-2 code in a field; None for names, placeholders and everything else."""
    if not isinstance(claim, str):
        return None
    code = claim.strip().upper()
    if len(code) != 2 or not (code.isascii() and code.isalpha()) or _USER_ASSIGNED.match(code):
        return None
    return "GB" if code == "UK" else code  # the one wrong code that lists really use


def build_found(proxy: Proxy, country: object = None, anonymity: object = None) -> Found | None:
    """`proxy` in its canonical spelling with its claims; None if it can be no proxy at all.

    Whether its address may be used is asked later, with the settings at hand.
    """
    proxy = canonical(proxy)
    if admit(proxy, allow_private=True) is not None:
        return None
    return Found(proxy, read_country(country), read_anonymity(anonymity))


def distinct(found: Iterable[Found], limit: int) -> list[Found]:
    """The first `limit` different proxies in their order; of equals the first stays.

    At most `REPEATED` times as many are looked at: some lists repeat one proxy without end.
    """
    kept: dict[Proxy, Found] = {}
    if limit > 0:
        for one in islice(found, REPEATED * limit):
            kept.setdefault(one.proxy, one)
            if len(kept) >= limit:
                break
    return list(kept.values())
