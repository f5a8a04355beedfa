"""Hypothesis strategies for what a hostile or broken server says: nearly right, then spoilt.

`NETLOC` in what they give stands for the origin's own host and port.
"""

import gzip
import zlib
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from hypothesis import strategies as st

from tests.raw_origin import HALF_CLOSE, HANG, KEEP, RESET, Step

NETLOC: Final = b"netloc.test"  # as long as it may be in a URL, whoever spoils it

# "hello" in brotli, for which the standard library has no compressor (RFC 7932).
BROTLI: Final = bytes.fromhex("0b028068656c6c6f03")

_JUNK = st.one_of(
    st.sampled_from(
        [b"\0", b"\r\n", b"\n", b"\r", b"\r\n\r\n", b" ", b"\t", b":", b";", b",", b"=", b"\xff"]
    ),
    st.binary(max_size=6),
)


@st.composite
def spoilt(draw: st.DrawFn, whole: st.SearchStrategy[bytes], most: int = 3) -> bytes:
    """As it is, or with up to `most` pieces inserted, cut out, replaced or doubled."""
    text = draw(whole)
    for _ in range(draw(st.integers(0, most))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 8)))
        kind = draw(st.sampled_from(["insert", "cut", "replace", "double"]))
        if kind == "insert":
            end = start
        middle = b"" if kind == "cut" else text[start:end] * 2
        if kind in ("insert", "replace"):
            middle = draw(_JUNK)
        text = text[:start] + middle + text[end:]
    return text


def _status_line(version: bytes, status: object, rest: bytes) -> bytes:
    return b"%b %b%b" % (version, str(status).encode(), rest)


STATUS_LINES: Final = st.builds(
    _status_line,
    st.sampled_from([b"HTTP/1.1"] * 6 + [b"HTTP/1.0", b"HTTP/2", b"HTTP/3.0", b"HTTP/0.9", b"ICY"]),
    st.one_of(
        st.sampled_from([100, 103, 200, 204, 206, 301, 304, 401, 404, 407, 416, 500, 999]),
        st.integers(-1, 1200),
    ),
    st.sampled_from([b" OK", b"", b" ", b" \xe4\xb8\xad\xff", b"\tOK", b" " + b"x" * 5000]),
)

HOSTS: Final = st.sampled_from(
    [NETLOC] * 5
    + [b"other.test", b"[::1]", b"u:p@" + NETLOC, "中文.test".encode(), b".", b"", b"a:0"]
)

_DOORS = [b"http://", b"HTTP://", b"//", b"https://", b"http:/", b"http:", b"\\\\"]
_PATHS = st.one_of(
    st.sampled_from(
        [
            b"",
            b"/",
            b"/good",
            b"good",
            b"../good",
            b"?a=b",
            b"#f",
            b"/a b",
            "/中文".encode(),
            b"/%zz",
        ]
    ),
    st.binary(max_size=12),
)
LOCATIONS: Final = st.one_of(
    spoilt(st.builds(lambda *parts: b"".join(parts), st.sampled_from(_DOORS), HOSTS, _PATHS)),
    spoilt(_PATHS),
    spoilt(st.sampled_from([b"javascript:1", b"data:,x", b"file:///etc/hosts", b"mailto:a@b"])),
)


def _set_cookie(name: bytes, value: bytes, attributes: Sequence[bytes]) -> bytes:
    return b"; ".join([name + b"=" + value, *attributes])


SET_COOKIES: Final = spoilt(
    st.builds(
        _set_cookie,
        st.sampled_from([b"a", b"b", b"", b"__Host-a", "名".encode(), b"\xff"]),
        st.one_of(st.sampled_from([b"1", b"", b'"q;q"', b"x" * 9000]), st.binary(max_size=8)),
        st.lists(
            st.sampled_from(
                [
                    b"Path=/", b"Path=", b"Path=x", b"Domain=test", b"Domain=.127.0.0.77",
                    b"Domain=" + NETLOC, b"Domain=com", b"Domain=", b"Secure", b"HttpOnly",
                    b"Max-Age=0", b"Max-Age=9", b"Max-Age=" + b"9" * 400, b"Max-Age=-" + b"9" * 30,
                    b"Expires=Thu, 01 Jan 1970 00:00:00 GMT",
                    b"Expires=Fri, 31 Feb 99999 99:99:99 +9999", b"Expires=1 Jan 0 0:0:0",
                    b"SameSite=None", b"=", b";;", "Path=/中".encode(),
                ]
            ),
            max_size=5,
        ),
    )
)  # fmt: skip

FIELDS: Final = st.one_of(
    st.sampled_from(
        [
            b"Content-Length: 2", b"Content-Length: 0", b"Content-Length: 99",
            b"Content-Length: -1", b"Content-Length: 99999999999999999999",
            b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked",
            b"Connection: close", b"Connection: keep-alive", b"Connection: upgrade",
            b"Keep-Alive: timeout=-1, max=x",
            b"Content-Encoding: gzip", b"Content-Encoding: br", b"Content-Encoding: deflate, gzip",
            b"Content-Encoding: identity", b"Content-Encoding: aws-chunked",
            b"Content-Type: text/html; charset=\xff", b"Content-Range: bytes 9-1/0",
            b"WWW-Authenticate: Digest nonce=", b"Proxy-Authenticate: NTLM x",
            b"Upgrade: h2c", b"Alt-Svc: h3=\":443\"", b"Trailer: X", b"Retry-After: -1",
            b"Refresh: 0", b"Strict-Transport-Security: max-age=9", b"no colon", b": no name",
            b" folded", b"\tfolded", b"X:" + b"y" * 3000,
        ]
    ),
    st.builds(lambda value: b"Location: " + value, LOCATIONS),
    st.builds(lambda value: b"Set-Cookie: " + value, SET_COOKIES),
)  # fmt: skip


def chunked(parts: Sequence[bytes], extension: bytes = b"", trailer: bytes = b"") -> bytes:
    """A body in chunks (RFC 9112 7.1)."""
    cut = [b"%x%b\r\n%b\r\n" % (len(part), extension, part) for part in parts if part]
    return b"".join(cut) + b"0\r\n" + trailer + b"\r\n"


CHUNKED: Final = spoilt(
    st.builds(
        chunked,
        st.lists(st.binary(max_size=40), max_size=4),
        st.sampled_from([b"", b";a=b", b' ; a="\\";"', b";"]),
        st.sampled_from([b"", b"X-T: v\r\n", b"Set-Cookie: t=1\r\n", b"no colon\r\n"]),
    )
)

_PLAIN = st.binary(max_size=300)
_BOMBS = st.sampled_from([gzip.compress(b"\0" * size, mtime=0) for size in (65_537, 2_000_000)])


def _gzip(plain: bytes) -> bytes:
    return gzip.compress(plain, 1, mtime=0)  # the same bytes each time


# What a body says it is coded in, and the body.
CODED: Final = st.one_of(
    st.tuples(st.just(b"gzip"), spoilt(st.one_of(st.builds(_gzip, _PLAIN), _BOMBS))),
    st.tuples(st.just(b"deflate"), spoilt(st.builds(zlib.compress, _PLAIN, st.just(1)))),
    st.tuples(st.just(b"br"), spoilt(st.just(BROTLI))),
    st.tuples(
        st.sampled_from([b"gzip, deflate", b"deflate,gzip", b"gzip," * 5 + b"gzip", b"zstd", b"x"]),
        spoilt(st.builds(lambda plain: zlib.compress(_gzip(plain), 1), _PLAIN)),
    ),
)

# A HANG costs its task the whole time-out, so it is rare.
ENDS: Final = st.sampled_from([None] * 20 + [KEEP] * 2 + [RESET] * 4 + [HALF_CLOSE] * 4 + [HANG])


def head(status_line: bytes, fields: Sequence[bytes]) -> bytes:
    return b"\r\n".join([status_line, *fields, b"", b""])


@st.composite
def answers(
    draw: st.DrawFn, text: st.SearchStrategy[bytes], ends: st.SearchStrategy[Any] = ENDS
) -> tuple[Step, ...]:
    """A script that sends the text in up to three pieces, and ends in one way or another."""
    whole = draw(text)
    cuts = sorted(draw(st.lists(st.integers(0, len(whole)), max_size=2)))
    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    end = draw(ends)
    return (*(piece for piece in pieces if piece), *([end] if end is not None else []))


RESPONSES: Final = spoilt(
    st.builds(
        lambda line, fields, body: head(line, fields) + body,
        spoilt(STATUS_LINES, 1),
        st.lists(FIELDS, max_size=5),
        st.one_of(st.just(b"ok"), st.binary(max_size=50), CHUNKED),
    ),
    1,
)

_ROBOTS_LINES = st.one_of(
    st.sampled_from(
        [
            b"User-agent: *", b"User-agent: fetchpool-test", b"user agent fetchpool-test",
            b"User-agent:", b"Disallow: /", b"Disallow:", b"Allow: /case",
            b"Disallow: /*" + b"*" * 99,
            b"Disallow: *a*a*a*a*a*a*a*a*a*b$", b"Allow: /%zz\xff", b"Crawl-delay: nan",
            b"Request-rate: 1/0", b"Visit-time: 9999-0", b"Sitemap: //[", b"#", b"\xef\xbb\xbf",
            b"Host: x", b"Noindex: /", b"<html>", "Disallow: /中文".encode(),
        ]
    ),
    st.binary(max_size=20),
)  # fmt: skip
ROBOTS: Final = spoilt(
    st.builds(
        lambda lines, break_: break_.join(lines),
        st.lists(_ROBOTS_LINES, max_size=12),
        st.sampled_from([b"\n", b"\r\n", b"\r", b"\n\n"]),
    )
)


# -- what comes by the queue -----------------------------------------------------------------

_SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(), st.text(max_size=5),
    st.binary(max_size=5),
)  # fmt: skip
_ANYTHING = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=5,
)
# No `proxy` but these: one that is named is trusted, wherever it is.
_PROXIES: st.SearchStrategy[Any] = st.sampled_from(
    ["", "direct", "pool", "pool:x", "http://", "h:99999", False, None, [], 1.5]
)
_OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "method": st.one_of(st.sampled_from(["POST", "head", "A B", "X\r\nY"]), _ANYTHING),
        "headers": st.one_of(
            st.dictionaries(st.text(max_size=4), _SCALARS, max_size=3),
            st.just({"X": "a\r\nInjected: 1"}),
            _ANYTHING,
        ),
        "data": _ANYTHING,
        "cookies": st.one_of(st.dictionaries(st.text(max_size=4), _SCALARS, max_size=3), _ANYTHING),
        "timeout": st.one_of(st.sampled_from([0.2, 0.5]), _SCALARS),
        "max_redirects": _SCALARS,
        "max_body": _SCALARS,
        "fetch_type": st.sampled_from(["js", "splash", "x", "", None]),
        "etag": _SCALARS,
        "robots_txt": _SCALARS,
        "save": _ANYTHING,
        "proxy": _PROXIES,
        "own": _ANYTHING,
    },
)
_URLS = st.one_of(
    st.sampled_from(
        [
            "data:,x", "data:text/plain;base64,x", "http://[",
            "http://a:b/", "gopher://x/", "http:///", "", "http://u:p@", "http://中文.test/",
            "[BASE64-DATA]eA==[/BASE64-DATA]", "[BASE64-DATA]?[/BASE64-DATA]",
        ]
    ),
    st.text(max_size=10),
    _ANYTHING,)  # fmt: skip


def tasks(good: str) -> st.SearchStrategy[dict[str, Any]]:
    """Tasks of which some can be run; `good` is a URL that has an answer."""
    return st.fixed_dictionaries(
        {},
        optional={
            "taskid": _ANYTHING,
            "project": _ANYTHING,
            "url": st.one_of(st.just(good), _URLS),
            "fetch": st.one_of(_OPTIONS, _ANYTHING),
            "track": _ANYTHING,
            "own": _ANYTHING,
        },
    )


def messages(good: str) -> st.SearchStrategy[bytes]:
    """What may lie in the in list, from noise to a whole task."""
    pack = msgspec.msgpack.encode
    # Only tasks without a proxy are spoilt: what came of its bytes would be trusted too.
    harmless = tasks(good).filter(
        lambda task: not isinstance(task.get("fetch"), dict) or "proxy" not in task["fetch"]
    )
    return st.one_of(
        st.binary(max_size=30),
        st.builds(pack, tasks(good)),
        st.builds(pack, _ANYTHING),
        spoilt(st.builds(pack, harmless)),
    )
