"""The service, and its face for Python programs.

>>> import asyncio
>>> from fetchpool import BlockingFetcher, Fetcher
>>>
>>> async def main():
...     async with Fetcher.from_settings(timeout=10) as fetcher:
...         result = await fetcher.fetch("data:,hello")
...         return result.status_code, result.content
>>> asyncio.run(main())
(200, b'hello')

Many at once, each as soon as it is done:

>>> async def many():
...     async with Fetcher.from_settings() as fetcher:
...         tasks = [f"data:,{n}" for n in range(3)]
...         return [result.content async for _, result in fetcher.fetch_many(tasks)]
>>> asyncio.run(many())
[b'0', b'1', b'2']

Through the pool that a service keeps, which shares its Redis (`redis.url`):

    async with Fetcher.with_pool(redis="redis://127.0.0.1:6379/0") as fetcher:
        result = await fetcher.fetch("https://example.com/", proxy="pool")

From threads, without an event loop:

>>> with BlockingFetcher() as fetcher:
...     fetcher.fetch("data:,hello").content
b'hello'
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fetcher import VERSION as __version__
    from fetcher.errors import (
        AnswerBroken,
        FetcherClosed,
        FetchpoolError,
        OptionError,
        RedisAway,
        TaskError,
    )
    from fetcher.model import Result, Task
    from fetchpool.face import BlockingFetcher, Fetcher

__all__ = [
    "AnswerBroken",
    "BlockingFetcher",
    "Fetcher",
    "FetcherClosed",
    "FetchpoolError",
    "OptionError",
    "RedisAway",
    "Result",
    "Task",
    "TaskError",
    "__version__",
]

_HOMES = {
    "AnswerBroken": "fetcher.errors",
    "BlockingFetcher": "fetchpool.face",
    "Fetcher": "fetchpool.face",
    "FetcherClosed": "fetcher.errors",
    "FetchpoolError": "fetcher.errors",
    "OptionError": "fetcher.errors",
    "RedisAway": "fetcher.errors",
    "Result": "fetcher.model",
    "Task": "fetcher.model",
    "TaskError": "fetcher.errors",
    "__version__": "fetcher",
}


if not TYPE_CHECKING:  # or mypy would believe in any name

    def __getattr__(name: str) -> object:
        """What is imported when it is first asked for: the command line is part of this package,
        and answers `--help` without libcurl."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        value = getattr(import_module(_HOMES[name]), "VERSION" if name == "__version__" else name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
