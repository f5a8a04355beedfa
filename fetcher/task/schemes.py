"""What URLs of other schemes than http mean: which are allowed, and the plan each becomes.

A decision module: no file, socket, environment or clock here. `data`, `http` and `https` are for
everybody; `file`, `ftp` and `s3` must be switched on and are for trusted entrances only, since
they read what belongs to this machine or to its operator. No redirect leads to any of them.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from fetcher.errors import TaskError
from fetcher.model import WEB, Request, Task, Trust
from fetcher.route.route import DIRECT, Direct, Env, Route
from fetcher.task.data_url import is_data_url
from fetcher.task.local import fit_file_url, fit_ftp_url
from fetcher.task.request import Defaults, Plan, build_plan
from fetcher.task.s3 import S3, build_s3_url, sign
from fetcher.urls import scheme_of

FOR_EVERYBODY: Final = ("data", "http", "https")
_WEB: Final = frozenset({"http", "https"})

# Methods of the schemes that are not HTTP on the wire.
_METHODS: Final[Mapping[str, tuple[str, ...]]] = {"file": ("GET", "HEAD"), "ftp": ("GET",)}


def special_scheme(url: str, schemes: Sequence[str], trust: Trust) -> str | None:
    """``data``, ``file``, ``ftp`` or ``s3``; None for http and https, which `fit_url` judges.

    Raises `TaskError` for a scheme that is not in `schemes`, or not for that trust.
    """
    scheme = "data" if is_data_url(url) else scheme_of(url)
    if scheme in _WEB:
        return None
    allowed = [one for one in schemes if trust is Trust.OPEN or one in FOR_EVERYBODY]
    if scheme in allowed:
        return scheme
    expected = f": expected one of {', '.join(allowed)}" if allowed else ""
    raise TaskError(f"Protocol {scheme[:100]!r} is not enabled{expected}")


def build_special(task: Task, scheme: str, defaults: Defaults, s3: S3) -> Plan:
    """The plan of a ``file``, ``ftp`` or ``s3`` task. Raises `TaskError`.

    No cookies, no robots.txt, and no redirects: what a signature or a file says is for no other
    place. s3 is http on the wire, but its results name the URL that was asked for.
    """
    if scheme == "s3":
        plan = build_plan(task, defaults, url=build_s3_url(task.url, s3))
        request: Request = sign(plan.request, s3)
        kind, shown = WEB, task.url
    else:
        url = fit_file_url(task.url) if scheme == "file" else fit_ftp_url(task.url)
        plan = build_plan(task, defaults, url=url)
        request = plan.request
        kind, shown = scheme, None
        _check_not_http(scheme, request)
    return replace(
        plan,
        kind=kind,
        shown_url=shown,
        request=request,
        cookies=None,
        follow=False,
        robots_txt=False,
    )


def special_route(scheme: str, route: Route) -> Route:
    """The way that a request of `scheme` takes when the task or the settings say `route`.

    s3 is https on the wire and goes as that does. A file needs no way at all. ftp leaves
    directly, as the variables of `env` name no proxy for it here; a route with a proxy is refused
    with `TaskError`, for going direct instead would show the address it was to hide.
    """
    if scheme == "s3":
        return route
    if scheme == "ftp" and not all(isinstance(way, Direct | Env) for way in route):
        raise TaskError("ftp:// leaves directly only, and the route names a proxy: set proxy=false")
    return DIRECT


def _check_not_http(scheme: str, request: Request) -> None:
    methods = _METHODS[scheme]
    if request.method not in methods:
        raise TaskError(f"fetch.method: {scheme}:// takes {' and '.join(methods)} only")
    if request.body is not None:
        raise TaskError(f"fetch.data: {scheme}:// takes no body")
