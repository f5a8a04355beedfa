"""Whether a client may be led where he wants: what can be told by the spelling of his target.

A decision module. Attempts judge the addresses besides, once names are looked up.
"""

import re
from typing import Final

from fetcher.errors import TaskError
from fetcher.forward.model import Authority, Refused
from fetcher.guard import refusal
from fetcher.model import Trust
from fetcher.urls import fit_url, origin_of

# RFC 9112 3.2.3: host and port, and nothing else. Longer ones name no host (RFC 1035 2.3.4).
_AUTHORITY: Final = re.compile(rb"([^\s/?#@:\[\]\\]{1,255}|\[[0-9A-Fa-f:.]{2,50}\]):([0-9]{1,5})")
MOST_PORT: Final = 65535


def read_authority(text: bytes) -> Authority | Refused:
    """The target of a CONNECT, its host as fit URLs spell it."""
    match = _AUTHORITY.fullmatch(text)
    if match is None:
        return _bad("CONNECT wants a host and a port, such as example.com:443, and nothing else")
    return fit_authority(match[1].decode("latin-1"), int(match[2]))


def fit_authority(host: str, port: int) -> Authority | Refused:
    """Host and port as a client gave them, IPv6 in brackets; also for SOCKS."""
    if not 1 <= port <= MOST_PORT:
        return _bad(f"port {port}: expected 1 to {MOST_PORT}")
    try:
        fit = origin_of(fit_url(f"https://{host}:{port}/"))[1]
    except TaskError:
        return _bad("the host of the target is neither a name nor an address")
    return Authority(fit.strip("[]"), port)


def refuse_target(
    target: Authority, trust: Trust, ports: frozenset[int], *, is_loop: bool
) -> Refused | None:
    """Why nobody may open a tunnel to `target`, or None. `ports` that may be reached, empty: all;
    `is_loop`: it is an entrance of ours."""
    if is_loop:
        return _forbidden(f"{target.text} is this service itself: that would be a loop")
    if ports and target.port not in ports:
        allowed = ", ".join(map(str, sorted(ports)))
        return _forbidden(
            f"port {target.port} is none that tunnels may reach ({allowed}): whoever runs the"
            " service allows more with forward.connect_ports"
        )
    return refuse_host(target.host, trust)


def refuse_host(host: str, trust: Trust) -> Refused | None:
    """Why a guarded client may not name `host`, or None."""
    if trust is Trust.OPEN:
        return None
    reason = refusal(host)
    return None if reason is None else refuse_address(reason)


def refuse_address(reason: str) -> Refused:
    """What the guard has refused, in its words."""
    return Refused(
        status=403,
        error="destination_ip_prohibited",
        sentence=f"{reason}: refused, unless whoever runs the service sets"
        " forward.allow_private: true",
    )


def _forbidden(sentence: str) -> Refused:
    return Refused(status=403, error="http_request_denied", sentence=sentence)


def _bad(sentence: str) -> Refused:
    return Refused(status=400, error="http_request_error", sentence=sentence)
