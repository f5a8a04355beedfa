"""Messages in the queue that mean harm."""

import asyncio
from typing import Any, Final

from tests.hostile.arena import TIMEOUT, Arena, pack
from tests.raw_origin import KEEP

M1: Final = 1_000_000


def task(**fetch: Any) -> dict[str, Any]:
    """URL is where a good page is."""
    return {"taskid": "t", "project": "p", "url": "URL", "fetch": {"timeout": TIMEOUT, **fetch}}


def _without_end(around: bytes, times: int, inside: bytes = b"\xc0") -> bytes:
    return b"\x82\xa3url\xa1x\xa4save" + around * times + inside


# Raw bytes of msgpack.
RAW: Final[dict[str, bytes]] = {
    "lists within lists": _without_end(b"\x91", M1),
    "maps within maps": _without_end(b"\x81\xa1a", M1),
    "a list of four billion": _without_end(b"\xdd\xff\xff\xff\xff", 1),
    "lists of four billion within each other": _without_end(b"\xdd\xff\xff\xff\xff", 1000),
    "a map of four billion": _without_end(b"\xdf\xff\xff\xff\xff", 1),
    "a text of four billion": _without_end(b"\xdb\xff\xff\xff\xff", 1),
    "a million empty lists": _without_end(b"\xdd\0\x0f\x42\x40", 1, b"\x90" * M1),
    "extension types": _without_end(b"\xc9\0\0\0\1\x05", 1, b"x"),
    "a date that is none": _without_end(b"\xc7\x0c\xff" + b"\xff" * 12, 1, b""),
    "text that is no UTF-8": b"\x81\xa3url\xd9\xff" + b"\xff" * 255,
    "keys that are lists": b"\x81\x91\xa1a\xa1x",
    "the same key 100,000 times": b"\xdf\0\x01\x86\xa0" + b"\xa3url\xa1x" * 100_000,
    "no map": b"\xc0",
    "nothing": b"",
    "noise": bytes(range(256)) * 40_000,
    "two tasks in one": b"\x81\xa3url\xa1x" * 2,
    "JSON": b"[" * M1,
    "base64 in base64": b"\x81\xa3url\xdb\0\x0f\x42\x40" + (b"[BASE64-DATA]" * 77_000)[:M1],
    "base64 marks without content": b"\x81\xa3url\xdb\0\x0f\x42\x40"
    + (b"[BASE64-DATA][/BASE64-DATA]" * 38_000)[:M1],
}  # fmt: skip

TASKS: Final[dict[str, dict[str, Any]]] = {
    "a URL of 10 MB": {**task(), "url": "http://h/" + "a" * 10 * M1},
    "a URL of 10 MB of dots": {**task(), "url": "http://h/" + "../" * 3 * M1},
    "a host of 10 MB": {**task(), "url": "http://" + "a." * 5 * M1},
    "a data: URL of 6 MB": {**task(), "url": "data:text/plain," + "%41" * 2 * M1},
    "a data: URL of base64": {**task(), "url": "data:;base64," + "QUFB" * 2 * M1},
    "a method of 1 MB": task(method="M" * M1),
    "100,000 header fields": task(headers={f"X-{n}": "y" for n in range(100_000)}),
    "a header of 10 MB": task(headers={"X": "y" * 10 * M1}),
    "100,000 cookies": task(cookies={f"a{n}": "b" for n in range(100_000)}),
    "a Cookie header of 5 MB": task(headers={"Cookie": "a=b; " * M1}),
    "a form of 300,000 fields": task(method="POST", data={f"a{n}": "é" for n in range(300_000)}),
    "a body of 15 MB": task(method="POST", data="x" * 15 * M1),
    "100,000 proxies": task(proxy=["127.0.0.1:1"] * 100_000),
    "a proxy of 1 MB": task(proxy="http://" + "u" * M1 + "@h:1"),
    "save of 15 MB": task(save={"x": "y" * 15 * M1}),
    "save of 300,000 things": task(save=[{"a": n} for n in range(300_000)]),
    "a track of 300,000 things": {**task(), "track": {"save": [{"a": n} for n in range(300_000)]}},
    "a taskid of a million things": {**task(), "taskid": [[]] * M1},
    "a form of lists in lists": task(data={f"a{n}": [[[]] * 9000] for n in range(100)}),
    "a cookie of 5 MB": task(cookies={"a": "b" * 5 * M1}),
    "a data: URL of 20 MB": {**task(), "url": "data:;base64," + "QUFB" * 5 * M1},
    "a data: URL of bare escapes": {**task(), "url": "data:," + "%41 " * 2 * M1},
    "a time-out of years": task(timeout=1e300, proxy="127.0.0.1:1"),
    "a user agent of 1 MB": task(user_agent="m" * M1, robots_txt=True),
    "an etag of 1 MB": task(etag="e" * M1),
}  # fmt: skip


# What costs most by itself, and needs no origin.
CROWDS: Final = (
    "a data: URL of base64", "a data: URL of 6 MB", "100,000 cookies", "a form of 300,000 fields",
    "100,000 proxies", "a track of 300,000 things",
)  # fmt: skip


def build_cases() -> dict[str, Any]:
    def send(message: bytes) -> Any:
        async def play(arena: Arena) -> None:
            await arena.send(message)

        return play

    def run(tree: dict[str, Any]) -> Any:
        async def play(arena: Arena) -> None:
            async with arena.peer(
                b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", KEEP
            ) as origin:
                url = origin.url if tree["url"] == "URL" else tree["url"]
                await arena.send(pack({**tree, "url": url}))

        return play

    def crowd(tree: dict[str, Any]) -> Any:
        async def play(arena: Arena) -> None:
            await asyncio.gather(*(arena.send(pack(tree)) for _ in range(5)))

        return play

    return {
        **{f"messages, five: {name}": crowd(TASKS[name]) for name in CROWDS},
        **{f"message: {name}": send(raw) for name, raw in RAW.items()},
        **{f"message: {name}": run(tree) for name, tree in TASKS.items()},
    }
