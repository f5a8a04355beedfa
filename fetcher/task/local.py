"""What file:// and ftp:// URLs mean: the URL that is asked, and the answer in HTTP's words.

A decision module: no file and no socket here. No redirect leads to either of them.
"""

import re
from collections.abc import Mapping
from mimetypes import MimeTypes
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from msgspec.structs import replace

from fetcher.errors import Code, Outcome, TaskError
from fetcher.model import Response
from fetcher.urls import fit_url

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")

# libcurl's codes for an FTP server's refusals (``curl/curl.h``).
_LOGIN_DENIED: Final = 67
_NO_SUCH_FILE: Final = frozenset({9, 19, 78})  # at CWD, at RETR, at SIZE
_FILE_UNAVAILABLE: Final = 550  # RFC 959 4.2.2: "file not found, no access"

_TYPES: Final = MimeTypes()  # Python's own table: what this machine adds to it is not read


# -- file ------------------------------------------------------------------------------------------


def fit_file_url(url: str) -> str:
    """``file:///path`` in ASCII; the host is empty or localhost (RFC 8089). Raises `TaskError`."""
    fit = fit_url(url, ("file",))
    if not fit.startswith("file:///"):
        raise TaskError("a file:// URL names a file of this machine: expected file:///path")
    if "\x00" in file_path(fit):
        raise TaskError("the path of the file contains NUL")
    return fit


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
