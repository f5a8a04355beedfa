"""How far a task is trusted after a redirect.

A decision module. An operator's task may name a private address; a public site may not send it
there (RFC 9110 has no word on this; it is the classic server-side request forgery).
"""

from fetcher.guard import is_public, refusal
from fetcher.model import Trust
from fetcher.urls import origin_of


def next_trust(
    trust: Trust, *, came_from: str, address: str | None, allow_private: bool | str
) -> Trust:
    """The trust of the next hop, after an answer from the URL `came_from`.

    `address` is the one its socket had, None through a proxy: then the spelling of the host
    decides, since only the proxy knows more. `allow_private` "all" trusts public sites too.
    """
    if trust is Trust.GUARDED or allow_private == "all":
        return trust
    was_public = is_public(address) if address else refusal(origin_of(came_from)[1]) is None
    return Trust.GUARDED if was_public else trust
