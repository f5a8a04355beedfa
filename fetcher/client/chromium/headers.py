"""What of a task's own headers and cookies a page gets, and with which of its requests.

A decision module. They are for the task's own place: what a page loads from others shows them
nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from fetcher.guard import literal_address
from fetcher.task.cookies import site_of_host
from fetcher.urls import origin_of

# The browser's own affair.
_BROWSERS: Final = frozenset(
    {
        "accept-encoding", "connection", "content-length", "cookie", "expect", "host", "keep-alive",
        "te", "trailer", "transfer-encoding", "upgrade", "user-agent",
    }
)  # fmt: skip
_AUTHORIZATION: Final = "authorization"

Header = tuple[str, str]


def split_headers(lines: Iterable[bytes]) -> tuple[str | None, list[Header]]:
    """The User-Agent and all that the browser does not say by itself, of wire lines."""
    agent, own = None, list[Header]()
    for line in lines:
        name, colon, value = line.decode("latin-1").partition(":")
        value = value.strip()
        if not colon:
            name = name.removesuffix(";")  # libcurl's way to say an empty one
        elif not value:
            continue  # and its way to say none
        lower = name.strip().lower()
        if lower == "user-agent":
            agent = value
        elif lower not in _BROWSERS and not lower.startswith("proxy-"):
            own.append((name.strip(), value))
    return agent, own


def same_place(url: str, first: str) -> bool:
    """Whether `url` is at the place of the task's URL, or at the same host's https port 443 where
    that was plain http at port 80."""
    here, there = origin_of(url), origin_of(first)
    if here == there:
        return True
    return here[1] == there[1] and there[::2] == ("http", 80) and here[::2] == ("https", 443)


def own_headers(own: Sequence[Header], url: str, first: str, *, is_page: bool) -> list[Header]:
    """What of them goes with a request to `url`, of a task for `first`. `is_page`: it is the
    page's own document, which redirects may have led elsewhere."""
    if same_place(url, first):
        return list(own)
    if is_page:
        return [(name, value) for name, value in own if name.lower() != _AUTHORIZATION]
    return []


def merge_headers(sent: Mapping[str, str], own: Sequence[Header]) -> list[dict[str, str]]:
    """The browser's and the task's own, which win, as DevTools want them."""
    names = {name.lower() for name, _ in own}
    kept = [(name, value) for name, value in sent.items() if name.lower() not in names]
    return [{"name": name, "value": value} for name, value in (*kept, *own)]


def build_cookies(header: bytes | None, url: str) -> list[dict[str, Any]]:
    """A Cookie header for `url` as cookies of a context: of that site, and where it is https, of
    https alone."""
    if not header:
        return []
    scheme, host, _ = origin_of(url)
    host = host.strip("[]")
    is_secure = scheme == "https"
    site = site_of_host(host)
    is_named = literal_address(host) is None and "." in site
    cookies = []
    for pair in header.decode("utf-8", "replace").split(";"):
        name, equals, value = pair.strip().partition("=")
        if not equals or not name:
            continue
        cookie: dict[str, Any] = {"name": name, "value": value}
        if is_named and not name.startswith("__Host-"):
            cookie.update(domain=f".{site}", path="/", secure=is_secure)
        else:
            cookie["url"] = f"{scheme}://{_bracketed(host)}/"
        cookies.append(cookie)
    return cookies


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def join_head(status: int, fields: Iterable[Header]) -> bytes:
    """An answer's fields as they are; of several values in one field each is a line."""
    lines = [f"HTTP/1.1 {status}"]
    lines += [f"{name}: {line}" for name, value in fields for line in value.split("\n")]
    return "\r\n".join((*lines, "", "")).encode("utf-8", "replace")
