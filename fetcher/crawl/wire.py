"""What went over the wire, for archives: the request's head, and the answer's as the body is.

Which lines libcurl is given is known to `client/options` alone.
"""

import re
from typing import Final
from urllib.parse import urlsplit

from fetcher.client.coding import OFFERED
from fetcher.client.options import wire_lines
from fetcher.model import Request

_CODING: Final = re.compile(rb"(?im)^content-encoding(?=[ \t]*:)")


def as_it_came(head: bytes, undone: bool) -> bytes:
    """The head of an answer whose body lies beside it: where its codings are undone, their field is
    renamed, as archives do, so that nobody undoes them again."""
    return _CODING.sub(b"X-Archive-Orig-Content-Encoding", head) if undone else head


def request_head(request: Request) -> bytes:
    """The head of a request without body as libcurl writes it for HTTP/1.1."""
    parts = urlsplit(request.url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    own = {
        b"Host": parts.netloc.rpartition("@")[2].encode(),
        b"Accept": b"*/*",
        b"Accept-Encoding": (OFFERED if request.decode else "identity").encode(),
    }
    lines = [f"{request.method} {target} HTTP/1.1".encode()]
    # To libcurl "Name;" is an empty field, and "Name:" one that it leaves out.
    given = [line if b":" in line else line.rstrip(b";") + b":" for line in wire_lines(request)]
    names = {line.partition(b":")[0].lower() for line in given}
    lines += [name + b": " + value for name, value in own.items() if name.lower() not in names]
    return b"\r\n".join([*lines, *given]) + b"\r\n\r\n"
