"""URLs in the spellings by which parsers have been set against each other, from a seed.

Backslashes, several "@", blanks and line ends anywhere, numbers as hosts, letters that UTS 46 maps
to others, "%2e", brackets, ports that are none; and well-spelled ones between them.
"""

# ruff: noqa: RUF001 -- letters that look like others are what this is about

from collections.abc import Iterator
from random import Random
from typing import Final

_SCHEMES: Final = (
    *("http://",) * 8,
    *("https://",) * 2,
    *(
        "http:/",
        "http:",
        "http:///",
        "http:\\\\",
        "http:/\\",
        "HTTP://",
        "hT\ttp://",
        " \x01http://",
    ),
    *("//", "///", "\\\\", "/", "", "ftp://", "file://", "javascript:", "foo://"),
)
_USERS: Final = (
    *("",) * 12,
    *("u:p@", "u@", "@", ":@", ":p@", "a@b@", "a@b:c@d@", "u:p%40@", "ü:é@", "127.0.0.1@"),
    *("127.0.0.1:80@", "u\\@", "u/@", "u?@", "u#@", "a b@", "%0d%0a:x@", "[::1]@", "u;p=1@"),
)
_HOSTS: Final = (
    *("h", "a.b", "example.com", "EXAMPLE.com", "my_host-1", "a.b.", "a..b", ".", "..", ".a"),
    *("127.0.0.1", "127.1", "0x7f.1", "0177.0.0.1", "2130706433", "0x7f000001", "127.0.0.1."),
    *("1.2.3.4.5", "256.1.1.1", "1.2.3.256", "09.1.1.1", "1.2.3.4a", "0x", "0x.0x", "a.1", "a.0x1"),
    *(
        "127.0.0.0x1",
        "4294967295",
        "4294967296",
        "0",
        "00",
        "127。0。0。1",
        "１２７.0.0.1",
        "①②⑦.1",
    ),
    *("127%2e0%2E0%2e1", "%31%32%37.0.0.1", "loc%61lhost", "a%2fb", "a%00b", "%ff.com", "a%40b"),
    *(
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[0:0:0:0:0:0:0:1]",
        "[fe80::1%25eth0]",
        "[::1",
        "::1",
    ),
    *("[1.2.3.4]", "[v1.x]", "[[", "[::127.0.0.1]", "[2001:DB8::A]", "[1::2::3]"),
    *("bücher.example", "BÜCHER.example", "straße.de", "☕.us", "i❤.ws", "my_bücher.example"),
    *(
        "xn--bcher-kva.example",
        "XN--BCHER-KVA.example",
        "xn--i-7iq.ws",
        "xn--a",
        "xn--",
        "hg--69.a",
    ),
    *(
        "a\u00adb",
        "ℂom",
        "ﬀ.a",
        "a\u200db",
        "\u200b",
        "ａ．ｂ",
        "例え。jp",
        "a℀b",
        "a／b",
        "a？b",
        "a＠b",
    ),
    *("a b", " a", "a\tb", "a\nb", "a+b", "a!b", "a'b", "a*b", "a<b", "a^b", "a|b", "a~b", "a%b"),
    *("", "localhost", "l\u017focalho\u017ft", "metadata.google.internal", "169.254.169.254"),
)
_PORTS: Final = (
    *("",) * 10,
    *(":80", ":443", ":8080", ":1", ":65535", ":65536", ":99999", ":0", ":", ":080", ":0000080"),
    *(":8 0", ":\t80", ": 80", ":-1", ":x", ":80x", ":８０", ":80:80", ":80@h:81", ":%38", ":+80"),
)
_PATHS: Final = (
    *("",) * 3,
    *(
        "/",
        "/a/b",
        "//",
        "//a//b/",
        "/a/../b",
        "/a/./b/.",
        "/..",
        "/../..//x",
        "/%2e%2E/a",
        "/.%2e/b",
    ),
    *(
        "\\a\\b",
        "\\\\h\\x",
        "/a\\..\\b",
        "/\\@x/",
        "/@h",
        "/a@b:c/",
        "/a:b",
        "/%zz%",
        "/%",
        "/a%2fb",
    ),
    *(
        "/é",
        "/中",
        "/a b",
        "/a\tb",
        "/a\r\nb",
        "/a\x00b",
        "/\x7f\x85",
        "/{}|^`[]",
        "/<>\"'",
        "/;p=1",
    ),
    *("/.a", "/..a", "/a.", "/a..", "/a/%2", "/a/%2f", "/.well-known/x", "/...", "/%2e%2e%2e/a"),
    "/http://x/y",
)
_QUERIES: Final = (
    *("",) * 6,
    *(
        "?",
        "?a",
        "?a=b&c=d",
        "??",
        "?a?b",
        "?/../x",
        "?\\a",
        "?é",
        "?'\"<>",
        "?{}|^`",
        "? a",
        "?a\nb",
    ),
    *("?@h", "?http://x/", "?%2e%2e", "?%zz", "?a=/./"),
)
_FRAGMENTS: Final = (*("",) * 8, "#", "#f", "#@h", "#/x", "# `\\", "#é", "##", "#?a", "# ")
_ANYWHERE: Final = (
    *"/\\@:?#[]%.\t\n\r &=\x00\x7fé中\u3002\uff0e\u2488\u0130\ufeff",
    "%2e",
    "//",
    "%00",
)


def spell(draw: Random) -> str:
    """One URL: parts of the tables, at times with something put in, taken out or doubled."""
    parts = [
        draw.choice(table)
        for table in (_SCHEMES, _USERS, _HOSTS, _PORTS, _PATHS, _QUERIES, _FRAGMENTS)
    ]
    if draw.random() < 0.15:
        parts[2] += draw.choice((".", "-", "_", "")) + draw.choice(_HOSTS)
    url = "".join(parts)
    while draw.random() < 0.2:
        at = draw.randrange(len(url) + 1)
        match draw.randrange(4):
            case 0:
                url = url[:at] + url[at + 1 :]
            case 1:
                url = url[:at] + url[at : at + 3] + url[at:]
            case _:
                url = url[:at] + draw.choice(_ANYWHERE) + url[at:]
    return url


def spellings(seed: int, count: int) -> Iterator[str]:
    draw = Random(seed)
    return (spell(draw) for _ in range(count))
