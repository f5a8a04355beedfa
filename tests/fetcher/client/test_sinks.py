from typing import ClassVar

import pytest

from fetcher.client.curl import CurlClient
from fetcher.client.sinks import WholeBody
from fetcher.model import DIRECT, Limits, Request, Response, Sink
from fetchpool.farm import Origin
from tests.wait import wait_until


class Listening:
    """Counts also what a whole body is not told."""

    whole: ClassVar[bool] = WholeBody.whole
    short: ClassVar[bool] = WholeBody.short

    def __init__(self) -> None:
        self.told: list[str] = []
        self.responses: list[Response] = []
        self.done = self.responses.append

    def head(self, response: Response) -> None:
        self.told.append("head")

    def body(self, chunk: bytes) -> None:
        self.told.append("body")


@pytest.mark.parametrize("path", ["/html", "/status/404"])
async def test_a_whole_body_is_told_of_once_and_in_one_piece(path: str) -> None:
    client = CurlClient(force_instance=True)
    sink = Listening()
    async with Origin() as origin:
        request = Request(url=origin.url + path)
        client.start(request, DIRECT, Limits(total=5.0, connect=5.0), sink)
        await wait_until(lambda: sink.responses)
        client.close()
    assert sink.told == []
    [response] = sink.responses
    length = response.head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]
    assert len(response.body) == int(length)


def test_it_carries_nothing_but_its_callback() -> None:
    sink: Sink = WholeBody(print)
    assert sink.whole and sink.done is print
    assert not hasattr(sink, "__dict__")
