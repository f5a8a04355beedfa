"""X-Request-Id: by what name a request is known to its caller, in our log and in our answer.

A caller's own is taken over if it is one that may stand in a log; any other is passed over and the
request gets one of ours, which no other request to any of our processes has.
"""

import os
import re
import secrets
from functools import cache
from itertools import count
from typing import Final

from tornado.httputil import HTTPServerRequest

FIELD: Final = "X-Request-Id"
LONGEST: Final = 128  # characters; a UUID has 36, what tracers write 55

_GIVEN: Final = re.compile(rf"[A-Za-z0-9._~:/+=@-]{{1,{LONGEST}}}")


_numbers = count(1)


@cache
def _start_of(pid: int) -> str:
    """What all of a process begin with; a worker is forked with what its parent has cached."""
    return secrets.token_hex(6)


def make_id() -> str:
    """A new one: random but for a number that is counted on, as more randomness costs 1 us."""
    return f"{_start_of(os.getpid())}-{next(_numbers):x}"


def find_id(request: HTTPServerRequest) -> str:
    """That of the request: the caller's, else one of ours, the same each time."""
    known: str | None = request.__dict__.get("id")
    if known is None:
        headers = request.headers
        if FIELD in headers and _GIVEN.fullmatch(headers[FIELD]):
            known = headers[FIELD]
        else:
            known = make_id()
        request.__dict__["id"] = known
    return known
