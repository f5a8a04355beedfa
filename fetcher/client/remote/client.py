"""RemoteClient: a `Client` that has pages rendered by a service elsewhere.

A driver. Each request is one POST to the service, over the client for trusted requests: its address
is the operator's.
"""

import asyncio
import base64
import time
from typing import Final
from urllib.parse import unquote, urlsplit, urlunsplit

from fetcher.client.remote.answer import MAX_ANSWER, read_answer
from fetcher.client.remote.question import build_question
from fetcher.client.sinks import WholeBody
from fetcher.errors import Code, Outcome, TaskError
from fetcher.model import DIRECT, Client, Exit, Limits, Request, Response, Sink, Transfer
from fetcher.rendering import SPLASH

CONNECT: Final = 5.0  # seconds to reach the service
_EXECUTE: Final = "/execute"


class _Refusal:
    """The transfer of what was not even asked."""

    def __init__(self, sink: Sink, response: Response) -> None:
        self._handle = asyncio.get_running_loop().call_soon(sink.done, response)

    def cancel(self) -> None:
        self._handle.cancel()

    def pause(self) -> None:
        """Nothing comes bit by bit."""

    def resume(self) -> None:
        """Nothing has paused."""

    def extend(self, seconds: float) -> None:
        """It is over."""


class RemoteClient:
    """`kind` is what the service at `url` is; `web` carries the POST. Its sinks hear of a page when
    it is whole."""

    def __init__(self, kind: str, url: str, web: Client) -> None:
        self._kind = kind
        self._web = web
        self._url, self._name, credentials = _read_url(kind, url)
        self._headers = [b"Content-Type: application/json", b"Accept: application/json"]
        if credentials:
            self._headers.append(b"Authorization: Basic " + base64.b64encode(credentials))

    def start(self, request: Request, exit: Exit, limits: Limits, sink: Sink) -> Transfer:
        """Begin; `sink` hears of it later, from the loop."""
        # A page is all that there is of an answer: so the time for its first byte is the page's.
        seconds = min(limits.total, limits.first_byte or limits.total)
        try:
            question = build_question(request, exit, seconds)
        except TaskError as error:
            refusal = Response(
                url=request.url, outcome=Outcome.OURS, code=Code.READ_ERROR, message=str(error)
            )
            return _Refusal(sink, refusal)
        post = Request(
            url=self._url,
            method="POST",
            headers=(*self._headers, b"Expect:"),
            body=question,
            connect_timeout=CONNECT,
            max_body=MAX_ANSWER,
        )
        own = Limits(total=seconds, connect=min(CONNECT, seconds), fresh=True)
        began = time.monotonic()

        def done(response: Response) -> None:
            late = response.code == Code.OPERATION_TIMEDOUT and exit.proxy is not None
            told = read_answer(request, exit, response, self._name)
            if late and time.monotonic() - began >= seconds:
                told.outcome = Outcome.PATH  # another exit may be faster
            sink.done(told)

        return self._web.start(post, DIRECT, own, WholeBody(done))


def _read_url(kind: str, url: str) -> tuple[str, str, bytes]:
    """Where to post to, how it is called without its secrets, and these. A bare ``host:port`` is
    pyspider's spelling."""
    parts = urlsplit(url if "://" in url else f"http://{url}")
    userinfo, _, place = parts.netloc.rpartition("@")
    path = parts.path
    if kind == SPLASH and not path.endswith(_EXECUTE):
        path = path.rstrip("/") + _EXECUTE
    named = urlunsplit((parts.scheme, place, path or "/", parts.query, ""))
    return named, f"{kind} at {place}", unquote(userinfo).encode()
