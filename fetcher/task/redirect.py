"""Response -> the next Request of a redirect chain, or None.

A decision module: the Fetch Standard's rules for method and body ("HTTP-redirect fetch"), and
which headers may go along to another place. Cookies are `cookies`' business.
"""

from typing import Final

import msgspec

from fetcher.model import Request
from fetcher.urls import join_location, origin_of

STATUSES: Final = frozenset({301, 302, 303, 307, 308})

# They describe a body; without it they lie (Fetch Standard, "request-body-header name").
_OF_BODY: Final = (
    b"content-encoding",
    b"content-language",
    b"content-length",
    b"content-location",
    b"content-type",
    b"transfer-encoding",
)
# Meant for one place: secrets, and the name of the place itself.
_OF_ORIGIN: Final = (b"authorization", b"host", b"proxy-authorization")


def next_request(
    request: Request, status: int, location: bytes | None, schemes: tuple[str, ...]
) -> Request | None:
    """What to ask for next, or None when the answer is the end of the chain.

    The cookie of the new request is left empty. Raises `TaskError` for a Location that leads
    nowhere we go.
    """
    if status not in STATUSES or not location:
        return None
    url = join_location(request.url, location, schemes)
    headers, method, body = request.headers, request.method, request.body
    if _becomes_get(status, method):
        method, body = "GET", None
        headers = _without(headers, _OF_BODY)
    elif body is not None and not isinstance(body, bytes):
        return None  # it has come bit by bit, and was sent
    certificate, key = request.client_cert, request.client_key
    if not _same_place(request.url, url):
        headers = _without(headers, _OF_ORIGIN)
        certificate = key = None  # who we are is for the one who was to know
    return msgspec.structs.replace(
        request,
        url=url,
        method=method,
        body=body,
        headers=headers,
        cookie=None,
        client_cert=certificate,
        client_key=key,
    )


def _becomes_get(status: int, method: str) -> bool:
    if status == 303:
        return method not in ("GET", "HEAD")
    return status in (301, 302) and method == "POST"


def _same_place(old: str, new: str) -> bool:
    """The same origin, or the usual move of one host from http:80 to https:443."""
    before, after = origin_of(old), origin_of(new)
    upgrade = (before[0], before[2], after[0], after[2]) == ("http", 80, "https", 443)
    return before == after or (upgrade and before[1] == after[1])


def _without(headers: tuple[bytes, ...], names: tuple[bytes, ...]) -> tuple[bytes, ...]:
    return tuple(line for line in headers if _name(line) not in names)


def _name(line: bytes) -> bytes:
    return line.partition(b":")[0].rstrip(b";").lower()
