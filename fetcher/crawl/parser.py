"""Parser: reads pages; heavy ones in a process of its own, with limits of time and memory.

A driver. See `heavy` for which pages those are, and why a thread would not do.
"""

from typing import Final

import msgspec

from fetcher.charset import decode_body
from fetcher.child import Child, Workman
from fetcher.child_process import pack
from fetcher.crawl.links import Reading, read_page
from fetcher.crawl.parsing_process import Answer, Job
from fetcher.html.heavy import LONG, is_heavy

SECONDS: Final = 10.0  # for a page
MOST: Final = 67_108_864  # bytes of an answer: 10,000 links, and a million characters
LONG_TEXT: Final = LONG // 8  # bytes from which on the readable text takes as long as 256 kB do
LONGEST: Final = 16_777_216  # bytes of a page; no honest one is longer

_decode: Final = msgspec.msgpack.Decoder(Answer).decode


class Parser:
    """`seconds`: how long a heavy page may take. `close` ends its process."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._workman = Workman("fetcher.crawl.parsing_process", most=MOST, seconds=seconds)
        self.close = self._workman.close

    @property
    def pid(self) -> int | None:
        """Of its process, if there is one."""
        return self._workman.pid

    async def parse(
        self, content: bytes, content_type: str, url: str, *, want_text: bool
    ) -> tuple[Reading, str | None]:
        """What `read_page` says of it; an empty reading and the sentence why, where it says nothing
        within the limits. `content_type` is the field's value, or empty."""
        if len(content) <= (LONG_TEXT if want_text else LONG):
            html = decode_body(content, content_type)
            if not is_heavy(html):
                return read_page(html, url, want_text=want_text), None
        job = Job(content[:LONGEST], content_type, url, want_text, self._seconds)
        try:
            answer = await self._workman.do(pack(job), _receive)
        except TimeoutError:
            return Reading(), f"it was not read within {self._seconds:g} s"
        except (OSError, EOFError, msgspec.DecodeError):
            return Reading(), "the process that read it has died"
        return answer.reading, answer.error


async def _receive(child: Child) -> tuple[Answer, bool]:
    answer = _decode(await child.receive())
    return answer, answer.is_spent
