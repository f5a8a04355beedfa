"""What a caller of `/fetch` asks for, as the options of a task.

A decision module. All of it but the URL and the body, so that many callers, or one who fetches many
pages, ask for the same.
"""

import re
from collections.abc import Callable, Collection
from itertools import chain
from typing import Any, Final, NamedTuple

from fetcher.errors import TaskError
from fetcher.http.forwarding import forwarded_headers
from fetcher.http.unknown import explain_parameters
from fetcher.model import NO_WISHES, Fetch, Wishes
from fetcher.route.route import Pool, Route
from fetcher.task.render import AUTO

_OPTIONS: Final[dict[str, Callable[[str], Any]]] = {
    "timeout": float,
    "retries": int,
    "delay": float,
    "proxy": str,
    "site": str,
}
PARAMETERS: Final = ("url", *_OPTIONS, "country", "session", "redirects", "cookies", "render")

RENDERS: Final = ("js", AUTO)  # what `render` may say

_COUNTRY: Final = re.compile("[A-Za-z]{2}")

# What the & of a URL looks like that was put into ours as it is.
_UNESCAPED: Final = (
    "if it belongs to the URL that is to be fetched, percent-encode that"
    " (curl -G --data-urlencode 'url=http://...')"
)

SHORT: Final = 4096  # characters


class Asked(NamedTuple):
    """One request's: `fields` of its head and `parameters` of its query, in order."""

    method: str
    fields: tuple[tuple[str, str], ...]
    parameters: tuple[tuple[str, str], ...]  # without `url`, `session`, `cookies`: no options

    @property
    def is_short(self) -> bool:
        """Whether it costs little to remember."""
        return sum(map(len, chain(*self.fields, *self.parameters))) <= SHORT


def read_asked(
    asked: Asked, *, caller_proxy: bool, max_body: int, sites: Collection[str] | None = None
) -> Fetch:
    """The options of its task. Raises `TaskError` naming the parameter that is wrong.

    `caller_proxy`: it may choose its way; `max_body`: bytes that it may get, 0 = no limit; `sites`:
    those that there are, None: nobody knows.
    """
    options: dict[str, Any] = {}
    for name, text in asked.parameters:
        if name in _OPTIONS:
            try:
                options[name] = _OPTIONS[name](text)
            except ValueError:
                raise TaskError(f"{name}: expected a number, got {text[:50]!r}") from None
        elif name == "redirects":
            options["allow_redirects"] = read_switch(name, text)
        elif name == "render":
            if text not in RENDERS:
                raise TaskError(f"render: expected {' or '.join(RENDERS)}, got {text[:50]!r}")
            options["fetch_type"] = text
        elif name != "country":
            given = [name for name, _ in asked.parameters]
            raise TaskError(f"{explain_parameters(given, PARAMETERS, '/fetch')}; {_UNESCAPED}")
    if options.get("fetch_type") == "js" and options.get("allow_redirects") is False:
        raise TaskError("redirects: with render=js they are the browser's business: leave it out")
    if "proxy" in options and not caller_proxy:
        raise TaskError(
            "proxy: callers may not choose the way of a fetch, unless whoever runs the service"
            " sets api.caller_proxy: true"
        )
    site = options.get("site")
    if site and sites is not None and site not in sites:
        raise TaskError(f"site: expected one of {', '.join(sites)}, got {site[:50]!r}")
    if max_body:
        options["max_body"] = max_body
    names = {name for name, _ in asked.fields}
    if "Range" in names and "Accept-Encoding" not in names:
        options["use_gzip"] = False  # a range is one of the bytes that are sent
    return Fetch(method=asked.method, headers=forwarded_headers(asked.fields), **options)


def read_wishes(asked: Asked, route: Route) -> Wishes:
    """What its proxy shall be, `route` being the way that it takes. Raises `TaskError`."""
    text = dict(asked.parameters).get("country")
    if text is None:
        return NO_WISHES
    if not _COUNTRY.fullmatch(text):
        raise TaskError(f"country: expected two letters (DE), got {text[:50]!r}")
    find_pool("country", route)
    return Wishes(country=text.upper())


def find_pool(name: str, route: Route) -> Pool:
    """Whose proxies the parameter `name` is about. Raises `TaskError` if it is about none."""
    for way in route:
        if isinstance(way, Pool):
            return way
    raise TaskError(
        f"{name}: it chooses among the proxies of a pool, and this way out has none: leave it"
        " out, or take proxy=pool"
    )


def read_switch(name: str, text: str) -> bool:
    """Raises `TaskError` for what is neither 0 nor 1."""
    if text not in ("0", "1"):
        raise TaskError(f"{name}: expected 0 or 1, got {text[:50]!r}")
    return text == "1"
