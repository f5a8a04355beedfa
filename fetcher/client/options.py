"""What a request means in libcurl's options.

Only what the request needs is set, on a handle that was reset: some options can be cleared by
nothing else. A reset and all of it cost 2.5 us, a tenth of a fetch; so a handle whose last
transfer had the same `Shape` keeps its options, and gets the rest.
"""

import base64
import re
from collections.abc import Callable
from typing import Any, Final

import msgspec
import pycurl
from msgspec.structs import astuple

from fetcher.client.coding import OFFERED
from fetcher.client.names import NO_LOOKUPS, Lookups, connect_to, is_left_to_libcurl, proxy_url
from fetcher.model import Exit, Limits, Request
from fetcher.proxy import Proxy
from fetcher.task.request import sends_body
from fetcher.task.s3 import S3Request

_PROTOCOLS: Final = pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS

_AUTHORITY_END: Final = re.compile(r"[/?]")
_EMPTY_QUERY: Final = re.compile(r"[^?#]*\?(?:#|\Z)")

_S: Final = ("s", "S")  # tells https from http, and nothing else is asked of libcurl

Setter = Callable[[int, Any], Any]

Times = tuple[int, int]
"""TIMEOUT_MS and CONNECTTIMEOUT_MS."""
NO_TIMES: Final = (0, 0)


class Common(msgspec.Struct, frozen=True):
    """What holds for all transfers of a client: whom to believe, whether to offer HTTP/2, and
    whether names are looked up before libcurl is asked."""

    ca_file: str | None = None
    http2: bool = True
    resolved: bool = False


class Shape(msgspec.Struct, frozen=True):
    """All that `set_options` reads, but for what `set_rest` sets: equal shapes, equal options."""

    request: tuple[Any, ...]  # its fields but the URL, which is the first of them
    https: bool
    named: bool  # CONNECT_TO is set
    streamed: bool = False  # other callbacks
    proxied: bool = False  # by a proxy that is asked in absolute form; `set_proxy` says by which
    known: bool = False  # which knows us by name and password
    trusted: bool = True  # and is another guard's


def shape_of(
    request: Request, exit: Exit, limits: Limits, found: Lookups, *, streamed: bool = False
) -> Shape | None:
    """The shape of a plain request: direct or through an http proxy that is no tunnel, without a
    body, on any connection; else None."""
    if request.body is not None or limits.fresh or not limits.keep:
        return None
    https, proxy = _is_https(request), exit.proxy
    if proxy is None:
        return Shape(astuple(request)[1:], https, found.target is not None, streamed)
    if https or proxy.scheme != "http" or request.target or _EMPTY_QUERY.match(request.url):
        return None
    return Shape(
        astuple(request)[1:],
        https,
        found.target is not None,
        streamed,
        proxied=True,
        known=proxy.username is not None,
        trusted=exit.trusted,
    )


def set_rest(set_: Setter, request: Request, limits: Limits, found: Lookups, times: Times) -> Times:
    """What may differ between two requests of one shape; before `set_options`, if that is needed.

    `times` are those that the handle has; returns what it has then.
    """
    set_(pycurl.URL, request.url)
    total = int(limits.total * 1000)
    connect = int(limits.connect * 1000)
    # Never a fraction before its time, or a result would be younger than its time-out.
    wanted = (total + 1, (connect if connect < total else total) or 1)
    if wanted != times:
        set_(pycurl.TIMEOUT_MS, wanted[0])
        set_(pycurl.CONNECTTIMEOUT_MS, wanted[1])
    if found.target is not None:
        # Not RESOLVE: what that says holds for every handle of the multi.
        set_(pycurl.CONNECT_TO, [connect_to(request.url, found.target)])
    return wanted


def set_proxy(set_: Setter, proxy: Proxy, found: Lookups) -> None:
    """Which one it is, for a handle whose last transfer of the same shape had another."""
    set_(pycurl.PROXY, proxy_url(proxy, found.proxy))
    if proxy.username is not None:
        # The pair is taken as it is; PROXYUSERPWD would be percent-decoded once more.
        set_(pycurl.PROXYUSERNAME, proxy.username.encode())
        set_(pycurl.PROXYPASSWORD, (proxy.password or "").encode())


def set_options(
    set_: Setter,
    request: Request,
    exit: Exit,
    limits: Limits,
    common: Common,
    found: Lookups = NO_LOOKUPS,
) -> None:
    """Everything but the callbacks and `set_rest`.

    Both raise pycurl.error or ValueError for what cannot be set.
    """
    set_(pycurl.NOSIGNAL, 1)
    set_(pycurl.PROTOCOLS, _PROTOCOLS)
    set_(pycurl.ENCODING, OFFERED if request.decode else "identity")
    set_(pycurl.HTTP_CONTENT_DECODING, 0)  # offered only: libcurl would undo it in one call
    _set_method(set_, request)
    _set_exit(set_, request, exit, found, http2=common.http2)
    if request.target:
        set_(pycurl.REQUEST_TARGET, _spelled_target(request, exit))
    if common.resolved and not is_left_to_libcurl(exit):
        # libcurl walks through its cache after each transfer; a thousand addresses cost 20 us.
        set_(pycurl.DNS_CACHE_TIMEOUT, 0)
    if limits.fresh:
        set_(pycurl.FRESH_CONNECT, 1)
    if not limits.keep:
        set_(pycurl.FORBID_REUSE, 1)
    if common.ca_file is not None:
        set_(pycurl.CAINFO, common.ca_file)
        set_(pycurl.PROXY_CAINFO, common.ca_file)
    if not _is_proxy_the_origin(request, exit):
        _set_origin_tls(set_, request)
    if request.bindaddress is not None:
        set_(pycurl.INTERFACE, request.bindaddress)
    if type(request) is S3Request:
        set_(pycurl.AWS_SIGV4, f"aws:amz:{request.signer.region}:s3")
        # The pair is taken as it is; USERPWD would be split at a colon.
        set_(pycurl.USERNAME, request.signer.access_key)
        set_(pycurl.PASSWORD, request.signer.secret_key)


def _set_origin_tls(set_: Setter, request: Request) -> None:
    if not request.validate_cert:
        set_(pycurl.SSL_VERIFYPEER, 0)
        set_(pycurl.SSL_VERIFYHOST, 0)
    if request.client_cert is not None:
        set_(pycurl.SSLCERT, request.client_cert)
        if request.client_key is not None:
            set_(pycurl.SSLKEY, request.client_key)


def _set_method(set_: Setter, request: Request) -> None:
    lines = wire_lines(request)
    if request.method == "HEAD" and request.body is None:
        set_(pycurl.NOBODY, 1)
    elif request.body is not None and not isinstance(request.body, bytes):
        set_(pycurl.UPLOAD, 1)
        set_(pycurl.CUSTOMREQUEST, request.method)
        if request.body.size is not None:
            set_(pycurl.INFILESIZE_LARGE, request.body.size)
    elif sends_body(request):
        # POSTFIELDS makes libcurl add a form's Content-Type and, above 1 MB, an Expect;
        # only POST gets the first (pyspider's behaviour), nobody the second.
        set_(pycurl.POSTFIELDS, request.body or b"")
        if request.method != "POST":
            set_(pycurl.CUSTOMREQUEST, request.method)
    elif request.method != "GET":
        set_(pycurl.CUSTOMREQUEST, request.method)
    set_(pycurl.HTTPHEADER, lines)


def _set_exit(set_: Setter, request: Request, exit: Exit, found: Lookups, *, http2: bool) -> None:
    # Both always: libcurl applies the environment's proxies to an unset PROXY, and its
    # no_proxy even to an explicit one.
    set_(pycurl.NOPROXY, "")
    proxy = exit.proxy
    if proxy is None:
        set_(pycurl.PROXY, "")
        if not http2:
            set_(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
        elif _is_https(request):
            # One connection with many streams costs half the CPU of many connections.
            set_(pycurl.PIPEWAIT, 1)
        return
    set_proxy(set_, proxy, found)
    set_(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
    # A ticket got through one exit and shown through another would link the two.
    set_(pycurl.SSL_SESSIONID_CACHE, 0)
    if proxy.noconnect and _is_https(request):
        _set_absolute_form(set_, request, proxy)
    elif proxy.scheme == "https":
        # Else libcurl 8.23 opens a new TLS connection to the proxy for each plain request.
        set_(pycurl.HTTPPROXYTUNNEL, 1)
    elif request.target:
        pass  # as it is spelled
    elif proxy.scheme == "http" and not _is_https(request) and _EMPTY_QUERY.match(request.url):
        # Else libcurl leaves out the "?", and "/a" is another resource than "/a?".
        set_(pycurl.REQUEST_TARGET, _absolute_form(request.url))


def _is_https(request: Request) -> bool:
    return request.url[4:5] in _S


def is_tunnelled(request: Request, exit: Exit) -> bool:
    """Whether the proxy is asked to CONNECT first; its answer comes to HEADERFUNCTION too."""
    proxy = exit.proxy
    if proxy is None or proxy.scheme not in ("http", "https"):
        return False
    if _is_https(request):
        return not proxy.noconnect
    return proxy.scheme == "https"


def _is_proxy_the_origin(request: Request, exit: Exit) -> bool:
    """Whether libcurl takes an https:// proxy for the origin.

    What the request says of its origin's TLS is nothing to the proxy then: without verification
    somebody else would get its password, and a client certificate is not for it to see.
    """
    proxy = exit.proxy
    is_asked = proxy is not None and proxy.noconnect and _is_https(request)
    return proxy is not None and is_asked and proxy.scheme == "https"


def _set_absolute_form(set_: Setter, request: Request, proxy: Proxy) -> None:
    """An https:// URL asked of the proxy itself, without CONNECT (libcurl has no word for it).

    libcurl is told a plain http request, and the true target as its request line; Host and
    Proxy-Authorization are right then. A proxy spoken to over TLS is better an origin.
    """
    set_(pycurl.REQUEST_TARGET, _absolute_form(request.url))
    rest = request.url.partition("#")[0].partition("://")[2]
    userinfo, at, place = _AUTHORITY_END.split(rest, maxsplit=1)[0].rpartition("@")
    if proxy.scheme != "https":
        set_(pycurl.URL, f"http://{rest}")
        return
    lines = [*wire_lines(request), b"Host: " + place.encode()]
    if proxy.username is not None:
        credentials = f"{proxy.username}:{proxy.password or ''}".encode()
        lines.append(b"Proxy-Authorization: Basic " + base64.b64encode(credentials))
    set_(pycurl.PROXY, "")
    set_(pycurl.URL, f"{proxy.scheme}://{userinfo}{at}{proxy.authority}/")
    set_(pycurl.HTTPHEADER, lines)


def _spelled_target(request: Request, exit: Exit) -> str:
    """The request line's target for one that spells it: absolute for a proxy that is not tunnelled
    through, where ``*`` has no path at all (RFC 9112 3.2.4)."""
    proxy, target = exit.proxy, request.target
    if proxy is None or proxy.scheme.startswith("socks") or is_tunnelled(request, exit):
        return target
    scheme, _, rest = request.url.partition("://")
    place = _AUTHORITY_END.split(rest, maxsplit=1)[0].rpartition("@")[2]
    return f"{scheme}://{place}{'' if target == '*' else target}"


def _absolute_form(url: str) -> str:
    """The URL as a request line for a proxy has it (RFC 9112 3.2.2)."""
    scheme, _, rest = url.partition("#")[0].partition("://")
    authority = _AUTHORITY_END.split(rest, maxsplit=1)[0]
    path = rest[len(authority) :]
    place = authority.rpartition("@")[2]
    return f"{scheme}://{place}{'' if path[:1] == '/' else '/'}{path}"


def wire_lines(request: Request) -> list[bytes]:
    """The header lines of a request for libcurl: its own, Cookie, and what it must leave out."""
    lines = list(request.headers)
    if request.cookie is not None:
        lines.append(b"Cookie: " + request.cookie)
    if sends_body(request):
        lines.append(b"Expect:")
        if request.method != "POST" and not any(
            line[:13].lower() == b"content-type:" for line in lines
        ):
            lines.append(b"Content-Type:")
    return lines
