r"""What `-w FORMAT` prints after a page: text, ``\n``, ``%{variables}``, ``%header{names}``.

A decision module. The variables are curl's, as far as a result knows them; another one is refused
before anything is fetched, where curl would warn after it.
"""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from fetcher.errors import TaskError
from fetcher.model import Result

_ESCAPES: Final = {r"\n": "\n", r"\r": "\r", r"\t": "\t", "%%": "%"}
_TOKEN: Final = re.compile(r"%%|\\[nrt]|%\{([^}]*)\}|%header\{([^}]*)\}")
_OUTPUTS: Final = ("stdout", "stderr", "onerror")

VARIABLES: Final = (
    *("content_type", "errormsg", "exitcode", "filename_effective", "http_code", "method"),
    *("num_redirects", "remote_ip", "response_code", "scheme", "size_download", "speed_download"),
    *("time_appconnect", "time_connect", "time_namelookup", "time_pretransfer"),
    *("time_starttransfer", "time_total", "url", "url_effective", "urlnum"),
)


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What a result does not hold itself."""

    answered: bool  # a response came, whatever its status
    method: str
    redirects: int
    address: str
    number: int  # of the URL, from 0
    file: str


def check_format(text: str) -> None:
    """Raises `TaskError` naming a variable that is not known here."""
    for match in _TOKEN.finditer(text):
        name = match[1]
        if name is None or name in VARIABLES:
            continue
        if name in _OUTPUTS:
            raise TaskError(f"-w: %{{{name}}} is not there: all of it goes to standard output")
        raise TaskError(f"-w: %{{{name}}} is not known here; known are {', '.join(VARIABLES)}")


def render(text: str, result: Result, told: Told) -> str:
    """The text for one result."""
    values = _find_values(result, told)
    headers = {name.lower(): value for name, value in result.headers.items()}

    def replace(match: re.Match[str]) -> str:
        if match[1] is not None:
            return values[match[1]]
        if match[2] is not None:
            return headers.get(match[2].lower(), "")
        return _ESCAPES[match[0]]

    return _TOKEN.sub(replace, text)


def _find_values(result: Result, told: Told) -> Mapping[str, str]:
    timing, size = result.timing, len(result.content)
    code = f"{result.status_code:03}" if told.answered else "000"
    failed = not told.answered
    connected = timing.dns + timing.connect
    secured = connected + timing.tls
    return {
        "content_type": result.headers.get("Content-Type", ""),
        "errormsg": result.error if failed and isinstance(result.error, str) else "",
        "exitcode": "1" if failed else "0",
        "filename_effective": told.file,
        "http_code": code,
        "method": told.method,
        "num_redirects": str(told.redirects),
        "remote_ip": told.address,
        "response_code": code,
        "scheme": result.url.partition(":")[0].lower(),
        "size_download": str(size),
        "speed_download": f"{size / result.time if result.time else 0:.0f}",
        "time_appconnect": _seconds(secured if timing.tls else 0.0),
        "time_connect": _seconds(connected),
        "time_namelookup": _seconds(timing.dns),
        "time_pretransfer": _seconds(secured),
        "time_starttransfer": _seconds(timing.first_byte),
        "time_total": _seconds(result.time),
        "url": result.orig_url,
        "url_effective": result.url,
        "urlnum": str(told.number),
    }


def _seconds(value: float) -> str:
    return f"{value:.6f}"
