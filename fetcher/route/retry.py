"""Again, on another proxy? One rule for all entrances.

A decision module. On a list or pool route another proxy is taken when the *proxy* failed, and
only if the request may be repeated; a direct route or a single proxy is never tried twice.
"""

from typing import Final

from fetcher.errors import Code, Outcome
from fetcher.model import Request, Response

# RFC 9110 9.2.2: repeating these changes nothing more than asking once.
IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})


def may_repeat(request: Request, response: Response, *, retry_unsafe: bool) -> bool:
    """Whether asking again is allowed at all.

    Any method while nothing of it has left for the target; idempotent ones until the first byte
    of an answer, or if it is a ban; others only when the task says so.
    """
    if not response.sent or response.stranger:
        return True
    if response.outcome is not Outcome.ANSWERED and response.head:
        return False
    return retry_unsafe or request.method in IDEMPOTENT


def is_repeatable(request: Request, *, retry_unsafe: bool) -> bool:
    """Whether a request may go on a kept connection, on which libcurl repeats silently."""
    return retry_unsafe or request.method in IDEMPOTENT


def proxy_failed(response: Response) -> bool:
    """Whether what happened through a proxy is a reason to take another one.

    One that asks who we are does so for itself: the answer is no page for anybody.
    """
    if response.outcome is Outcome.ANSWERED:
        return response.stranger
    return response.outcome in (Outcome.PROXY, Outcome.PATH)


def is_certificate_failure(response: Response) -> bool:
    """A certificate that failed inside a tunnel; seen through two proxies it is the origin's."""
    return response.code == Code.PEER_FAILED_VERIFICATION and response.outcome is Outcome.PATH


def first_byte_limit(attempt_timeout: float, left: float, *, last: bool) -> float:
    """Seconds until an attempt must have answered; 0 (none but the deadline) for the last one."""
    return 0.0 if last else min(attempt_timeout, left)
