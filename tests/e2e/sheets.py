"""Pages that a test can compare byte for byte, and that name a second thing to load.

Sheet NUMBER lies at `/sheet/NUMBER` of every host; what it holds follows from its number alone.
"""

import random
import re
from collections.abc import Iterator
from typing import NamedTuple

from fetchpool.farm import Call, Origin

HTML = "text/html; charset=utf-8"
SCRIPT = "text/javascript"
TOGETHER = 4  # sheets of one host: two by http, two by https


class Sheet(NamedTuple):
    """One page; `host` names nobody's site but the farm's."""

    number: int
    host: str
    is_tls: bool

    @property
    def url(self) -> str:
        return f"http{'s' * self.is_tls}://{self.host}/sheet/{self.number}"


def sheets(name: str, count: int) -> Iterator[Sheet]:
    """The pages of one client: hosts are its own, so that their names tell who asked for them."""
    for number in range(count):
        yield Sheet(number, f"{name}-{number // TOGETHER}.farm.test", number % 2 == 1)


def text_of(number: int) -> str:
    """Mostly some hundred bytes, now and then 100 kB."""
    draw = random.Random(number)
    size = 50_000 if number % 25 == 24 else draw.randrange(20, 1000)
    return draw.randbytes(size).hex()


def title_of(number: int) -> str:
    return f"Sheet {number}"


def body_of(number: int) -> bytes:
    script = f"/script/{number}"
    return (
        f"<!doctype html><html><head><title>{title_of(number)}</title>"
        "<link rel=icon href='data:,'></head>"
        f"<body>{text_of(number)}<script src='{script}'></script></body></html>\n"
    ).encode()


def script_of(number: int) -> bytes:
    return b"document.title += ' and its script'\n"


def add_sheets(origin: Origin) -> None:
    async def sheet(call: Call, number: str) -> None:
        await call.send(body_of(int(number)), kind=HTML)

    async def script(call: Call, number: str) -> None:
        await call.send(script_of(int(number)), kind=SCRIPT)

    origin.pages[:0] = [
        (re.compile(r"/sheet/(\d+)"), sheet),
        (re.compile(r"/script/(\d+)"), script),
    ]
