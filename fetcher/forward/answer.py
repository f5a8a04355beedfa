"""Answer: what a client gets of one request, in the framing of our own, at his pace.

A driver: it writes. A short answer is one write. What of the target's head goes back is said by
`heads`; bodies go back as they came, coded or not.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Final

from fetcher.forward import heads
from fetcher.forward.model import Refused
from fetcher.forward.reader import Head
from fetcher.model import Response, Result
from fetcher.run.path import Fetching

_NO_CONTENT: Final = frozenset({204, 304})  # RFC 9110 6.4.1
_RESET: Final = struct.pack("ii", 1, 0)  # linger for no time: the close is an RST


class Answer:
    """A `Receiver`. `spend` hears of all bytes that are written; `introduce` says our own lines of
    a head, with the size of the body if that is known."""

    status = 0  # of the head that was written
    is_chunked = ends_by_closing = False
    is_over = False

    def __init__(
        self,
        head: Head,
        client: asyncio.Transport,
        *,
        spend: Callable[[int], None],
        introduce: Callable[[Fetching, int | None], bytes],
    ) -> None:
        self.head = head
        self.client = client
        self.spend = spend
        self.introduce = introduce

    def begin(self, fetching: Fetching, result: Result) -> None:
        """The head is here, and a body behind it."""
        response = fetching.response
        assert response is not None
        self._write_head(fetching, response, None)

    def chunk(self, data: bytes) -> None:
        """Some of the body."""
        if self.is_over or self._has_no_body:
            return
        self.spend(len(data))
        if self.is_chunked:
            self.client.writelines((b"%x\r\n" % len(data), data, b"\r\n"))
        else:
            self.client.write(data)

    def write_whole(self, fetching: Fetching, response: Response) -> None:
        """All of it is here."""
        self._write_head(fetching, response, response.body)

    def refuse(self, refused: Refused, *, closes: bool) -> None:
        """There is none, and this is why."""
        self.status = refused.status
        head = self.head
        data = heads.build_refusal(
            refused, closes=closes, method=head.method, keeps_old=head.is_old
        )
        self.spend(len(data))
        self.client.write(data)

    def finish(self) -> None:
        """That was all."""
        self.is_over = True
        if self.is_chunked:
            self.client.write(b"0\r\n\r\n")

    def cut(self) -> None:
        """End the connection where it is: the answer looks whole to nobody."""
        self.is_over = True
        if self.ends_by_closing:
            # Only a reset tells a client of HTTP/1.0 that this was not the end.
            sock = self.client.get_extra_info("socket")
            if sock is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.client.abort()

    @property
    def _has_no_body(self) -> bool:
        return self.head.method == b"HEAD" or self.status in _NO_CONTENT

    def _write_head(self, fetching: Fetching, response: Response, body: bytes | None) -> None:
        """And the body, if that is here."""
        status = self.status = response.status
        back = heads.build_returned(response.head, status)
        lines = [back.lines, self.introduce(fetching, None if body is None else len(body))]
        length = back.length
        if self._has_no_body:
            body = b""
            if status == 204:
                length = None  # RFC 9110 8.6
        elif body is not None:
            length = len(body)
        if length is not None:
            lines.append(b"Content-Length: %d\r\n" % length)
        elif self._has_no_body:
            pass
        elif self.head.is_old:
            self.ends_by_closing = True
        else:
            self.is_chunked = True
            lines.append(b"Transfer-Encoding: chunked\r\n")
        closes = self.ends_by_closing or not self.head.keeps
        for line in heads.connection_lines(closes=closes, keeps_old=self.head.is_old):
            lines += (line, b"\r\n")
        lines += (b"\r\n", body or b"")
        data = b"".join(lines)
        self.spend(len(data))
        self.client.write(data)
