"""A Python client in a process of its own: loads sheets through a proxy, tells what went wrong.

    python -m tests.e2e.forward_client requests|httpx|aiohttp <JOB

A job is JSON: `proxy` (URL), `ca` (file), `width` (how many at once) and `sheets` (a list of
[number, url]). Of each comes a line of JSON: number, error ("" if the page is as it shall be),
seconds.
"""

import asyncio
import json
import ssl
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.e2e.sheets import body_of

TIMEOUT = 60.0  # seconds


def judge(number: int, status: int, body: bytes, headers: Mapping[str, str]) -> str:
    """What is wrong with an answer, "" if nothing."""
    if status != 200:
        told = {name: headers[name] for name in headers if name.lower() in TELLING}
        return f"status {status}, {told}, {body[:200]!r}"
    expected = body_of(number)
    if body != expected:
        return f"another body: {len(body)} bytes for {len(expected)}: {body[:100]!r}"
    return ""


TELLING = {"proxy-status", "x-fetch-proxy", "x-fetch-error", "server", "via"}


def tell(number: int, error: str, began: float) -> None:
    line = {"number": number, "error": error, "seconds": time.monotonic() - began}
    sys.stdout.write(json.dumps(line) + "\n")


def by_requests(job: dict[str, Any]) -> None:
    import requests

    own = threading.local()

    def load(one: tuple[int, str]) -> None:
        number, url = one
        began = time.monotonic()
        if not hasattr(own, "session"):
            own.session = requests.Session()
            own.session.trust_env = False
            own.session.proxies = {"http": job["proxy"], "https": job["proxy"]}
            own.session.verify = job["ca"]
        try:
            answer = own.session.get(url, timeout=TIMEOUT)
            error = judge(number, answer.status_code, answer.content, answer.headers)
        except (requests.RequestException, OSError) as wrong:
            error = repr(wrong)
        tell(number, error, began)

    with ThreadPoolExecutor(job["width"]) as threads:
        list(threads.map(load, job["sheets"]))


async def by_httpx(job: dict[str, Any]) -> None:
    import httpx

    context = ssl.create_default_context(cafile=job["ca"])
    async with httpx.AsyncClient(
        proxy=job["proxy"], verify=context, timeout=TIMEOUT, trust_env=False
    ) as client:

        async def get(number: int, url: str) -> str:
            answer = await client.get(url)
            return judge(number, answer.status_code, answer.content, answer.headers)

        await load_all(job, get, (httpx.HTTPError, OSError))


async def by_aiohttp(job: dict[str, Any]) -> None:
    import aiohttp

    context = ssl.create_default_context(cafile=job["ca"])
    timeout = aiohttp.ClientTimeout(total=TIMEOUT)
    async with aiohttp.ClientSession(timeout=timeout) as client:

        async def get(number: int, url: str) -> str:
            async with client.get(url, proxy=job["proxy"], ssl=context) as answer:
                return judge(number, answer.status, await answer.read(), answer.headers)

        await load_all(job, get, (aiohttp.ClientError, OSError))


async def load_all(
    job: dict[str, Any],
    get: Callable[[int, str], Awaitable[str]],
    failures: tuple[type[Exception], ...],
) -> None:
    waiting: Iterable[tuple[int, str]] = iter(job["sheets"])

    async def load() -> None:
        for number, url in waiting:
            began = time.monotonic()
            try:
                error = await get(number, url)
            except failures as wrong:
                error = repr(wrong)
            tell(number, error, began)

    await asyncio.gather(*(load() for _ in range(job["width"])))


if __name__ == "__main__":
    given = json.load(sys.stdin)
    match sys.argv[1]:
        case "requests":
            by_requests(given)
        case "httpx":
            asyncio.run(by_httpx(given))
        case "aiohttp":
            asyncio.run(by_aiohttp(given))
