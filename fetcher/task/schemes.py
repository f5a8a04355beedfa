"""What URLs of other schemes than http mean: which are allowed, and the request each becomes.

A decision module: no file, socket, environment or clock here. `data`, `http` and `https` are for
everybody; `file`, `ftp` and `s3` must be switched on and are for trusted entrances only, since
they read what belongs to this machine or to its operator. No redirect leads to any of them.
"""

import re
from collections.abc import Mapping, Sequence
from mimetypes import MimeTypes
from typing import Final
from urllib.parse import quote, unquote, unquote_to_bytes, urlsplit

import msgspec
from msgspec.structs import asdict, replace

from fetcher.errors import Code, Outcome, TaskError
from fetcher.model import Request, Response, Task, Trust
from fetcher.route.route import DIRECT, Direct, Env, Route
from fetcher.task.data_url import is_data_url
from fetcher.task.request import Defaults, Plan, build_plan, header_line
from fetcher.urls import fit_url, scheme_of

FOR_EVERYBODY: Final = ("data", "http", "https")
_WEB: Final = frozenset({"http", "https"})

# Methods of the schemes that are not HTTP on the wire.
_METHODS: Final[Mapping[str, tuple[str, ...]]] = {"file": ("GET", "HEAD"), "ftp": ("GET",)}

# The rest of an s3:// URL is judged by `fit_url`. Buckets of before 2018 may have upper case,
# underscores and up to 255 characters.
_BUCKET: Final = re.compile(r"s3://([A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9])(?=[/?#]|\Z)", re.I)
# Amazon's certificate is for one label before the region's name.
_ONE_LABEL: Final = re.compile(r"[a-z0-9-]{3,63}")
_DOT_SEGMENTS: Final = frozenset({b".", b".."})
_REGION: Final = re.compile(r"[a-z0-9-]{1,64}")
_AUTHORITY_END: Final = re.compile(r"[/?#]")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")

# libcurl's codes for an FTP server's refusals (``curl/curl.h``).
_LOGIN_DENIED: Final = 67
_NO_SUCH_FILE: Final = frozenset({9, 19, 78})  # at CWD, at RETR, at SIZE
_FILE_UNAVAILABLE: Final = 550  # RFC 959 4.2.2: "file not found, no access"

_TYPES: Final = MimeTypes()  # Python's own table: what this machine adds to it is not read


class S3(msgspec.Struct, frozen=True, kw_only=True):
    """Where s3:// leads and who asks. `endpoint` None is Amazon."""

    endpoint: str | None = None
    region: str = "us-east-1"
    access_key: str = ""
    secret_key: str = ""
    token: str = ""  # of temporary keys

    def __repr__(self) -> str:
        return f"S3(region={self.region!r})"  # the rest is secret


class S3Request(Request, frozen=True, kw_only=True):
    """A request to S3, with an http or https `url`, that libcurl signs (AWS Signature v4)."""

    signer: S3


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
    place.
    """
    if scheme == "s3":
        plan = build_plan(task, defaults, url=build_s3_url(task.url, s3))
        request: Request = _signed(plan.request, s3)
    else:
        url = fit_file_url(task.url) if scheme == "file" else fit_ftp_url(task.url)
        plan = build_plan(task, defaults, url=url)
        request = plan.request
        _check_not_http(scheme, request)
    return replace(plan, request=request, cookies=None, follow=False, robots_txt=False)


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


# -- file ------------------------------------------------------------------------------------------


def fit_file_url(url: str) -> str:
    """``file:///path`` in ASCII; the host is empty or localhost (RFC 8089). Raises `TaskError`."""
    rest = url.lstrip(" \t\r\n")[len("file://") :]
    host = _AUTHORITY_END.split(rest, maxsplit=1)[0]
    if host.strip().lower() not in ("", "localhost"):
        raise TaskError("a file:// URL names a file of this machine: expected file:///path")
    fit = fit_url("file://localhost" + rest[len(host) :], ("file",))
    if "\x00" in file_path(fit):
        raise TaskError("the path of the file contains NUL")
    return fit.replace("localhost", "", 1)


def file_path(url: str) -> str:
    """The absolute path that a fit file:// URL names; undecodable bytes as Python's os has them.

    A query or fragment is no part of it: a ``?`` or ``#`` in a name is percent-encoded.
    """
    return unquote(urlsplit(url).path, errors="surrogateescape") or "/"


def path_below(path: str, root: str) -> str | None:
    """The rest of real path `path` below real path `root`, "" for `root` itself, None outside."""
    if path == root:
        return ""
    prefix = root if root.endswith("/") else root + "/"
    return path[len(prefix) :] if path.startswith(prefix) else None


def guess_type(url: str) -> str | None:
    """The media type that the name at the end of a URL's path suggests."""
    name = unquote(urlsplit(url).path.rpartition("/")[2], errors="replace")
    # Behind "file:///" lest a colon in the name is taken for a scheme's.
    media_type, coding = _TYPES.guess_type("file:///" + quote(name))
    if coding is not None:
        return "application/gzip" if coding == "gzip" else None
    return media_type


def build_head(status: int, reason: str, fields: Mapping[str, str | None]) -> bytes:
    """A response head as an HTTP server would have written it; None leaves a field out."""
    lines = [f"HTTP/1.1 {status} {reason}"]
    lines += [f"{name}: {value}" for name, value in fields.items() if value is not None]
    return "".join(line + "\r\n" for line in [*lines, ""]).encode("utf-8", "replace")


# -- ftp -------------------------------------------------------------------------------------------


def fit_ftp_url(url: str) -> str:
    """``ftp://[user[:password]@]host/path`` in ASCII. Raises `TaskError`.

    Control characters, encoded too, are refused: a line break would begin another FTP command.
    """
    fit = fit_url(url, ("ftp",))
    parts = urlsplit(fit)
    if _CONTROL.search(unquote(parts.netloc + parts.path)):
        raise TaskError("the FTP URL contains control characters")
    return fit


def ftp_response(response: Response) -> Response:
    """What an FTP transfer ended in, in HTTP's words: 200, 404, or no answer and why.

    libcurl gives the server's last reply code as `status`.
    """
    reply = response.status
    if response.outcome is Outcome.ANSWERED:
        path = urlsplit(response.url).path
        is_list = path in ("", "/") or path.endswith("/")
        fields = {
            "Content-Type": "text/plain" if is_list else guess_type(response.url),
            "Content-Length": str(len(response.body)),
        }
        return replace(response, status=200, head=build_head(200, "OK", fields))
    if response.code in _NO_SUCH_FILE and reply == _FILE_UNAVAILABLE:
        return replace(
            response,
            outcome=Outcome.ANSWERED,
            code=Code.OK,
            message="",
            status=404,
            head=build_head(404, "Not Found", {}),
            body=b"",
        )
    message = response.message
    if response.code == _LOGIN_DENIED:
        message = f"the FTP server refuses the login: reply {reply}"
    return replace(response, status=0, head=b"", message=message)


# -- s3 --------------------------------------------------------------------------------------------


def read_s3(endpoint: str | None, variables: Mapping[str, str]) -> S3:
    """Amazon's usual environment variables, and the endpoint of the settings."""
    region = variables.get("AWS_REGION") or variables.get("AWS_DEFAULT_REGION") or "us-east-1"
    return S3(
        endpoint=endpoint,
        region=region.strip(),
        access_key=variables.get("AWS_ACCESS_KEY_ID", "").strip(),
        secret_key=variables.get("AWS_SECRET_ACCESS_KEY", "").strip(),
        token=variables.get("AWS_SESSION_TOKEN", "").strip(),
    )


def build_s3_url(url: str, s3: S3) -> str:
    """``s3://bucket/key?query`` as the URL that is asked. Raises `TaskError`.

    At Amazon the bucket is part of the host where its certificate allows that, else, and at any
    other endpoint, of the path. The key is encoded anew, as only one spelling is signed rightly.
    """
    url = url.strip(" \t\r\n")
    match = _BUCKET.match(url)
    if match is None:
        raise TaskError("expected s3://bucket/key, the bucket of letters, digits, '.', '-', '_'")
    if not _REGION.fullmatch(s3.region):
        raise TaskError("AWS_REGION: expected the name of a region, such as eu-central-1")
    bucket = match[1]
    parts = urlsplit(fit_url("s3://bucket" + url[match.end() :], ("s3",)))
    path = unquote_to_bytes(parts.path or "/")
    if _DOT_SEGMENTS.intersection(path.split(b"/")):
        # libcurl would take another object: it signs no path that it may not shorten.
        raise TaskError("the key has '.' or '..' between slashes: libcurl cannot ask for that")
    key = quote(path, safe="/~")
    query = f"?{parts.query}" if parts.query else ""
    return fit_url(_s3_place(bucket, s3) + key + query)


def _s3_place(bucket: str, s3: S3) -> str:
    if s3.endpoint is not None:
        parts = urlsplit(s3.endpoint)
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise TaskError("fetcher.s3.endpoint: expected a URL of scheme, host and path only")
        return f"{s3.endpoint.rstrip('/')}/{bucket}"
    domain = f"s3.{s3.region}.amazonaws.com"
    if s3.region.startswith("cn-"):
        domain += ".cn"
    if _ONE_LABEL.fullmatch(bucket):
        return f"https://{bucket}.{domain}"
    return f"https://{domain}/{bucket}"


def _signed(request: Request, s3: S3) -> S3Request:
    if not s3.access_key or not s3.secret_key:
        raise TaskError(
            "s3:// needs keys: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment"
        )
    fields = asdict(request)
    if s3.token:
        if not s3.token.isascii() or _CONTROL.search(s3.token):
            raise TaskError("AWS_SESSION_TOKEN: expected one line of ASCII")
        token = header_line("X-Amz-Security-Token", s3.token)
        fields["headers"] = (*request.headers, token)
    return S3Request(**fields, signer=s3)
