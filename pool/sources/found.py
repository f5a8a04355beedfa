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
    region: str | None = None  # where it is, in the words of another pool that had it
    source: str | None = None  # and where that pool had it from


# A list's "https" means, by the field's custom, an HTTP proxy that can CONNECT: taken for TLS to
# the proxy, nearly every entry would fail. "connect" is hideip.me's word for the same.
# A bare "socks" is left out: to curl it is SOCKS4, to others SOCKS5.
_SCHEMES: Final[dict[str, str]] = {
    "http": "http",
    "https": "http",
    "connect": "http",
    "socks4": "socks4",
    "socks4a": "socks4a",
    "socks5": "socks5",
    "socks5h": "socks5h",
}
_WORD: Final = re.compile(r"[a-z0-9]+")

# SOCKS5, "Socks v5", SOCKS_4, "socks4/5"; and what is spoken, but not by us.
_SOCKS: Final = re.compile(
    r"socks[ _-]?(?:v|version)?[ _-]?(4a|5h|4|5)(?:[ ]?[/&+,][ ]?(?:socks)?(4|5))?(?![\w.])"
)
_OF_GROUPS_WORDS: Final = "proxy proxies list lists server servers free public ip s"
_OF_GROUPS: Final = frozenset(_OF_GROUPS_WORDS.split())
_FOREIGN_WORDS: Final = (
    "socks vmess vless trojan ss ssr shadowsocks mtproto hysteria hysteria2 hy2 tuic snell "
    "wireguard anytls ssh quic"
)
_FOREIGN: Final = frozenset(_FOREIGN_WORDS.split())

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
    words = [word for text in texts[:16] if isinstance(text, str) for word in _split(text)]
    if not words:
        return None
    return tuple(dict.fromkeys(_SCHEMES[word] for word in words if word in _SCHEMES))


def read_mentioned(text: str) -> tuple[str, ...] | None:
    """As `read_schemes`, of a text in which other words may stand as well: None if none of them
    is a protocol's name."""
    words = _split(text)
    if not any(word in _SCHEMES or word in _FOREIGN for word in words):
        return None
    return tuple(dict.fromkeys(_SCHEMES[word] for word in words if word in _SCHEMES))


def read_group(name: str) -> tuple[str, ...] | None:
    """The schemes in what stands above proxies, or is the key of them: ``SOCKS5 proxies:``,
    ``http_list``. None: it is about something else; empty: none of them is ours."""
    words = _split(name)
    if not all(word in _SCHEMES or word in _FOREIGN or word in _OF_GROUPS for word in words):
        return None
    return read_mentioned(name)


def is_protocol(word: str) -> bool:
    """Whether it is the name of one, ours or not."""
    words = _split(word)
    return bool(words) and all(one in _SCHEMES or one in _FOREIGN for one in words)


def _split(text: str) -> list[str]:
    text = text[:400].lower()
    if "socks" in text:
        text = _SOCKS.sub(_join, text)
    return _WORD.findall(text)


def _join(match: re.Match[str]) -> str:
    return f"socks{match[1]} socks{match[2]}" if match[2] else f"socks{match[1]}"


def read_anonymity(claim: object) -> Anonymity | None:
    """The level in a field, from any of the field's vocabularies (N/A/H, 高匿, Elite, ...)."""
    if not isinstance(claim, str):
        return None
    words = _GAPS.sub(" ", claim[:40].strip().lower()).rstrip("!")
    return _ANONYMITY.get(words.removesuffix("代理").removesuffix(" proxy").strip())


def read_anonymity_cell(cell: str) -> Anonymity | None:
    """The level in the cell of a table whose columns nobody has named, if the word for it means
    nothing else."""
    return None if cell.lower() in _AMBIGUOUS else read_anonymity(cell)


def read_country(claim: object) -> str | None:
    """The ISO alpha-2 code in a field; None for names, placeholders and everything else."""
    if not isinstance(claim, str):
        return None
    code = claim.strip().upper()
    if len(code) != 2 or not (code.isascii() and code.isalpha()) or _USER_ASSIGNED.match(code):
        return None
    return "GB" if code == "UK" else code  # the one wrong code that lists really use


def read_region(claim: object) -> str | None:
    """The ISO alpha-2 code of a place as other pools name it: ``US``, ``United States``,
    ``中国 广东``; None if none is known."""
    if not isinstance(claim, str):
        return None
    if code := read_country(claim):
        return code
    name = claim.strip().lower()
    return _COUNTRIES.get(name) or _COUNTRIES.get(_PLACE_END.split(name, maxsplit=1)[0])


_PLACE_END: Final = re.compile(r"[\s,|/_-]")
_COUNTRIES: Final = {
    name: code
    for code, names in {
        "AR": "argentina,阿根廷", "AU": "australia,澳大利亚", "BD": "bangladesh,孟加拉国",
        "BR": "brazil,巴西", "CA": "canada,加拿大", "CL": "chile,智利", "CN": "china,中国",
        "CO": "colombia,哥伦比亚", "CZ": "czechia,捷克", "DE": "germany,德国",
        "EC": "ecuador,厄瓜多尔", "EG": "egypt,埃及", "ES": "spain,西班牙", "FI": "finland,芬兰",
        "FR": "france,法国", "GB": "united kingdom,英国", "HK": "hong kong,香港",
        "ID": "indonesia,印度尼西亚,印尼", "IN": "india,印度", "IR": "iran,伊朗",
        "IT": "italy,意大利",
        "JP": "japan,日本", "KH": "cambodia,柬埔寨", "KR": "south korea,korea,韩国",
        "KZ": "kazakhstan,哈萨克斯坦", "MX": "mexico,墨西哥", "MY": "malaysia,马来西亚",
        "NL": "netherlands,荷兰", "PE": "peru,秘鲁", "PH": "philippines,菲律宾",
        "PK": "pakistan,巴基斯坦", "PL": "poland,波兰", "RO": "romania,罗马尼亚",
        "RU": "russia,俄罗斯", "SE": "sweden,瑞典", "SG": "singapore,新加坡", "TH": "thailand,泰国",
        "TR": "turkey,土耳其", "TW": "taiwan,台湾", "UA": "ukraine,乌克兰",
        "US": "united states,美国",
        "VE": "venezuela,委内瑞拉", "VN": "vietnam,越南", "ZA": "south africa,南非",
    }.items()
    for name in names.split(",")
}  # fmt: skip


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
