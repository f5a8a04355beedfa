"""Parser: reads pages; heavy ones in a process of its own, with limits of time and memory.

A driver. See `heavy` for which pages those are, and why a thread would not do.
"""

import asyncio
from typing import Final

import msgspec

from fetcher.charset import decode_body
from fetcher.child import Child
from fetcher.child_process import pack
from fetcher.crawl.heavy import LONG, is_heavy
from fetcher.crawl.links import Reading, read_page
from fetcher.crawl.parsing_process import Answer, Job

SECONDS: Final = 10.0  # for a page
START: Final = 30.0  # seconds that a new interpreter may take
MOST: Final = 67_108_864  # bytes of an answer: 10,000 links, and a million characters
LONG_TEXT: Final = LONG // 8  # bytes from which on the readable text takes as long as 256 kB do
LONGEST: Final = 16_777_216  # bytes of a page; no honest one is longer

_MODULE: Final = "fetcher.crawl.parsing_process"


class Parser:
    """`seconds`: how long a heavy page may take. `close` ends its process."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._child: Child | None = None
        self._turn = asyncio.Lock()
        self._decoder = msgspec.msgpack.Decoder(Answer)

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
        async with self._turn:
            return await self._parse_there(job)

    async def close(self) -> None:
        async with self._turn:
            await self._end()

    async def _parse_there(self, job: Job) -> tuple[Reading, str | None]:
        is_well = False
        try:
            child = await self._start()
            async with asyncio.timeout(self._seconds):
                await child.send(pack(job))
                answer = self._decoder.decode(await child.receive())
            is_well = not answer.is_spent
            return answer.reading, answer.error
        except TimeoutError:
            return Reading(), f"it was not read within {self._seconds:g} s"
        except (OSError, EOFError, msgspec.DecodeError):
            return Reading(), "the process that read it has died"
        finally:
            if not is_well:
                await self._end()

    async def _start(self) -> Child:
        """The running process, or a new one."""
        if self._child is not None and self._child.returncode is None:
            return self._child
        await self._end()
        self._child = await Child.start(_MODULE, most=MOST)
        async with asyncio.timeout(START):
            self._decoder.decode(await self._child.receive())
        return self._child

    async def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            await child.end()
