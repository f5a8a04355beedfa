"""Task -> Request: method, headers, body, validators, limits.

A decision module: nothing is fetched, resolved or timed here. pyspider's options decide, with the
differences that CONTRACT names; what cannot be sent raises `TaskError` with words for the user.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final
from urllib.parse import urlencode

import msgspec
from msgspec.structs import replace

from fetcher.errors import TaskError
from fetcher.model import WEB, Cookies, Fetch, Request, Task
from fetcher.urls import fit_url

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 5.6.2
_CONTROL: Final = re.compile(r"[\x00\r\n]")
_NOT_TEXT: Final = re.compile(r"[\x00\r\n\ud800-\udfff]")  # half a character has no bytes

# Seconds; stands for no limit at all. libcurl counts milliseconds, in 31 bits where long is short.
NO_LIMIT: Final = 2_000_000.0

# libcurl sends no longer head than that, and takes a time that is quadratic in the lines: 8 s for
# 100,000 of them.
MAX_HEADERS: Final = 1_048_576  # characters of values
MAX_LINES: Final = 5_000
MAX_SECONDS: Final = 1e9  # a time is below that; more than NO_LIMIT means no limit
MAX_DELAY: Final = 86_400.0  # seconds; the next task to that host would wait for as long
MAX_FORM: Final = 50_000  # fields; they cost 2 us each

_FORM: Final = b"Content-Type: application/x-www-form-urlencoded"
_NO_OPTIONS: Final = Fetch()

# Spelled as pyspider and httpbin show them; the wire does not care (RFC 9110 5.1).
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"})

# How long the body is says libcurl, who sends it; another word on it would split the request.
_FRAMING: Final = frozenset({"Content-Length", "Transfer-Encoding"})

# Without its credentials a proxy would seem to turn us away.
_KEPT: Final = _FRAMING | {"Proxy-Authorization"}

# Of these a list is refused, as of any option that wants a text.
_ONCE: Final = _FRAMING | {"Cookie", "Authorization", "Host", "User-Agent"}

# With a body or without: methods whose request says how long its content is, even if empty.
_BODY_EXPECTED: Final = frozenset({"POST", "PUT", "PATCH"})


class Defaults(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What a task that says nothing gets; from the `fetcher` section of the settings.

    One is only equal to itself: what follows from it is remembered, and found by that.
    """

    user_agent: str
    timeout: float = 120.0
    max_timeout: float = 3600.0
    connect_timeout: float = 20.0
    max_redirects: int = 5
    retries: int = 3
    max_body: int = 67108864
    bindaddress: str | None = None
    schemes: tuple[str, ...] = ("http", "https")


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A task made ready: its first request and the rules for all that follow."""

    request: Request
    cookies: Cookies | None
    timeout: float  # seconds, of everything
    follow: bool
    max_redirects: int
    retries: int
    retry_unsafe: bool
    robots_txt: bool
    site: str | None
    delay: float | None = None  # between two starts at one host; None: it says nothing of that
    kind: str = WEB  # of the client that carries it out
    shown_url: str | None = None  # results name this instead of the URL that was asked


def build_plan(task: Task, defaults: Defaults, *, url: str | None = None) -> Plan:
    """Everything a task asks for, checked and typed. Raises `TaskError`.

    `url` is asked instead of the task's; it is fit already.
    """
    plan = plan_options(task, defaults)
    if url is None:
        url = fit_url(task.url, defaults.schemes)
    return plan_for(plan, url)


def plan_options(task: Task, defaults: Defaults) -> Plan:
    """The same but for the URL, which its request lacks: tasks without options share one."""
    fetch = task.fetch
    if (fetch is None or fetch == _NO_OPTIONS) and not task.track:
        return _plain_plan(defaults)
    return _plan_options(fetch or _NO_OPTIONS, task.track, defaults)


def plan_for(plan: Plan, url: str) -> Plan:
    """The same for another URL, which is fit: what a thousand tasks with equal options share."""
    return replace(plan, request=replace(plan.request, url=url))


@lru_cache(maxsize=16)
def _plain_plan(defaults: Defaults) -> Plan:
    """Of the many tasks that ask for nothing but a page: 0.1 us instead of 2."""
    return _plan_options(_NO_OPTIONS, None, defaults)


def _plan_options(fetch: Fetch, track: Any, defaults: Defaults) -> Plan:
    """The plan for no URL in particular."""
    lines, cookie_header = _header_lines(fetch, track, defaults.user_agent)
    body = _body(fetch.data, lines)
    cookies = _cookies(cookie_header, fetch.cookies)
    request = Request(
        url="",
        method=_method(fetch.method),
        headers=tuple(lines),
        body=body,
        connect_timeout=_seconds("connect_timeout", fetch.connect_timeout, defaults.connect_timeout)
        or defaults.max_timeout
        or NO_LIMIT,
        max_body=_lower(fetch.max_body, defaults.max_body),
        decode=_is_on(fetch.use_gzip),
        validate_cert=_is_on(fetch.validate_cert),
        client_cert=fetch.client_cert or None,
        client_key=fetch.client_key or None,
        bindaddress=fetch.bindaddress or defaults.bindaddress,
    )
    return Plan(
        request=request,
        cookies=cookies,
        timeout=task_timeout(fetch, defaults),
        follow=_is_on(fetch.allow_redirects),
        max_redirects=_count("max_redirects", fetch.max_redirects, defaults.max_redirects),
        retries=_count("retries", fetch.retries, defaults.retries),
        retry_unsafe=bool(fetch.retry_unsafe),
        robots_txt=bool(fetch.robots_txt),
        site=fetch.site,
        delay=None if fetch.delay is None else _delay(fetch.delay),
    )


def refuse_operators_options(fetch: Fetch) -> None:
    """Raises `TaskError` for options that name things of this machine: not for HTTP callers."""
    for name in ("bindaddress", "client_cert", "client_key"):
        if getattr(fetch, name):
            raise TaskError(
                f"fetch.{name}: only tasks of the queue, programs and commands may say this"
            )


def task_timeout(fetch: Fetch, defaults: Defaults) -> float:
    """Seconds the whole task may take: 0 means `max_timeout`, and more than that is cut to it."""
    asked = _seconds("timeout", fetch.timeout, defaults.timeout) or NO_LIMIT
    return min(asked, defaults.max_timeout or NO_LIMIT)


def _is_on(switch: bool | int | None) -> bool:
    """An option that is on unless it is switched off; null means what absence means."""
    return switch is None or bool(switch)


def _method(method: str | None) -> str:
    if method is None or method in _METHODS:
        return method or "GET"
    if not _TOKEN.fullmatch(method) or len(method) > 64:
        raise TaskError(f"the method {method[:64]!r} is not an HTTP token")
    upper = method.upper()
    return upper if upper in _METHODS else method  # methods are case-sensitive (RFC 9110 9.1)


def _header_lines(fetch: Fetch, track: Any, user_agent: str) -> tuple[list[bytes], str]:
    """Wire lines of all headers but Cookie, and the Cookie header as it was given."""
    cookie = ""
    agent = _header_text("User-Agent", fetch.user_agent or user_agent)
    named: dict[str, str] = {"User-Agent": agent}
    more: list[bytes] = []  # of headers that are sent several times
    if fetch.headers:
        if len(fetch.headers) > MAX_LINES:
            raise TaskError(f"fetch.headers: at most {MAX_LINES} can be sent")
        size = 0
        for name, value in fetch.headers.items():
            if value is None:
                continue
            spelling = header_case(name)
            if isinstance(value, list) and value and spelling not in _ONCE:
                value, *others = value
                more += [header_line(spelling, _header_text(spelling, one)) for one in others]
            text = _header_text(spelling, value)
            size += len(text)
            if size > MAX_HEADERS:
                raise TaskError(f"fetch.headers: at most {MAX_HEADERS} characters can be sent")
            if spelling in _FRAMING:
                continue
            if spelling == "Cookie":
                cookie = f"{cookie}; {text}" if cookie else text
            else:
                named[spelling] = text
    if track or fetch.etag or fetch.last_modified or fetch.last_modifed:
        for name, value in _validators(fetch, track):
            named.setdefault(name, _header_text(name, value))
    lines = [header_line(name, value) for name, value in named.items()]
    if more:
        lines += more
    if fetch.omit_headers:
        lines = _omit(lines, fetch.omit_headers)
    return lines, cookie


def _omit(lines: list[bytes], names: list[str]) -> list[bytes]:
    """Without those of these names; a name alone keeps libcurl from sending its own."""
    spelled = (header_case(name) for name in names)
    gone = list(dict.fromkeys(name.encode() for name in spelled if name not in _KEPT))
    return [
        *(line for line in lines if re.split(b"[:;]", line, maxsplit=1)[0] not in gone),
        *(name + b":" for name in gone),
    ]


@lru_cache(maxsize=1024)
def header_case(name: str) -> str:
    """``Http-Header-Case``, as pyspider spells names. Raises `TaskError` when it is no token."""
    if not _TOKEN.fullmatch(name):
        raise TaskError(f"the header name {name[:100]!r} is not an HTTP token")
    return "-".join(word.capitalize() for word in name.split("-"))


def _header_text(name: str, value: Any) -> str:
    if isinstance(value, bytes):
        # And back by `header_line`: bytes are sent as they are.
        text, refused = value.decode("utf-8", "surrogateescape"), _CONTROL
    elif isinstance(value, bool) or not isinstance(value, str | int | float):
        raise TaskError(
            f"the header {name} has a {type(value).__name__}: expected text or a number"
        )
    else:
        text, refused = str(value), _NOT_TEXT
    if refused.search(text):
        raise TaskError(f"the header {name} contains a line break or NUL: refused")
    return text


def header_line(name: str, value: str) -> bytes:
    """``Name: value`` for libcurl, which wants ``Name;`` for an empty value (else it drops it)."""
    if not value.strip():
        return name.encode("ascii") + b";"
    return f"{name}: {value}".encode("utf-8", "surrogateescape")


def _validators(fetch: Fetch, track: Any) -> list[tuple[str, Any]]:
    """If-None-Match and If-Modified-Since as pyspider makes them from `track` (its section 9).

    A text option is sent as it is; a true one (the default) sends what the last crawl saw, if
    its callback had gone well; a false one switches it off.
    """
    old = track if isinstance(track, Mapping) else {}
    process, last = old.get("process"), old.get("fetch")
    seen: Mapping[str, Any] = {}
    if isinstance(process, Mapping) and process.get("ok") and isinstance(last, Mapping):
        headers = last.get("headers")
        if isinstance(headers, Mapping):
            seen = {str(name).lower(): value for name, value in headers.items()}
    modified = fetch.last_modified
    if modified is msgspec.UNSET:
        modified = fetch.last_modifed
    out = []
    for name, option, key in (
        ("If-None-Match", fetch.etag, "etag"),
        ("If-Modified-Since", modified, "last-modified"),
    ):
        value = option if isinstance(option, str) else None
        if value is None and (option is msgspec.UNSET or option):
            value = seen.get(key)
        if value:
            out.append((name, value))
    return out


def _body(data: Any, lines: list[bytes]) -> bytes | None:
    """The request body; a dict is form-encoded and says so unless the task names its own type."""
    if data is None or isinstance(data, bytes):
        return data
    if isinstance(data, str):
        return data.encode("utf-8", "surrogatepass")
    if isinstance(data, dict):
        if len(data) > MAX_FORM:
            raise TaskError(f"fetch.data: a form may have {MAX_FORM} fields, more are sent as text")
        if not any(line.lower().startswith((b"content-type:", b"content-type;")) for line in lines):
            lines.append(_FORM)
        return urlencode(data, doseq=True, errors="surrogatepass").encode("ascii")
    raise TaskError(f"fetch.data: expected text, bytes or a dict, got {type(data).__name__}")


def _cookies(header: str, named: dict[str, Any] | None) -> Cookies | None:
    if not header and not named:
        return None
    pairs: dict[str, str] = {}
    size = len(header)
    if named and len(named) > MAX_LINES:
        raise TaskError(f"fetch.cookies: at most {MAX_LINES} can be sent")
    for name, value in (named or {}).items():
        if value is None:
            continue
        text = _header_text("Cookie", value)
        size += len(name) + len(text)
        if size > MAX_HEADERS:
            raise TaskError(f"fetch.cookies: at most {MAX_HEADERS} characters can be sent")
        if ";" in text or ";" in name or "=" in name or _CONTROL.search(name) or not name.strip():
            raise TaskError(f"the cookie {name[:100]!r} has a character that cookies cannot hold")
        pairs[name] = text
    return Cookies(header, pairs)


def _seconds(name: str, value: float | None, default: float) -> float:
    if value is None:
        return default
    if not 0 <= value < MAX_SECONDS:  # false for NaN too
        raise TaskError(
            f"fetch.{name}: expected seconds from 0 to below {MAX_SECONDS:.0f}, got {value}"
        )
    return min(float(value), NO_LIMIT)


def _delay(value: float) -> float:
    if not 0 <= value <= MAX_DELAY:  # false for NaN too
        raise TaskError(f"fetch.delay: expected seconds from 0 to {MAX_DELAY:g}, got {value}")
    return float(value)


def _count(name: str, value: int | None, default: int) -> int:
    if value is None:
        return default
    if value < 0:
        raise TaskError(f"fetch.{name}: expected a whole number >= 0, got {value}")
    return min(value, 1000)


def _lower(value: int | None, limit: int) -> int:
    """A task's own limit may only be the lower one; 0 means no limit."""
    if value is None or value <= 0:
        return limit
    return min(value, limit) if limit else value


def sends_body(request: Request) -> bool:
    """Whether the request has content, be it empty: POST, PUT and PATCH always do."""
    return request.body is not None or request.method in _BODY_EXPECTED
