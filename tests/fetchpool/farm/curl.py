"""A plain curl handle as a client of the farm: what its own tests look through."""

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO

import pycurl

from fetchpool.farm import Farm, FarmProxy

OK, CONNECT_FAILED, PARTIAL, TIMED_OUT = 0, 7, 18, 28
NOT_VERIFIED, PROXY_FAILED = 60, 97


@dataclass(frozen=True, slots=True)
class Answer:
    """What a curl handle brought: `code` 0 or libcurl's error; `connect_status` of CONNECT."""

    code: int
    status: int
    connect_status: int
    head: bytes
    body: bytes

    @property
    def json(self) -> dict[str, object]:
        parsed: dict[str, object] = json.loads(self.body)
        return parsed


def handle(
    farm: Farm, proxy: str = "", headers: Iterable[str] = (), timeout: float = 5
) -> pycurl.Curl:
    curl = pycurl.Curl()
    curl.setopt(pycurl.PROXY, proxy)
    curl.setopt(pycurl.NOPROXY, "")
    curl.setopt(pycurl.CAINFO, farm.ca_file)
    curl.setopt(pycurl.PROXY_CAINFO, farm.ca_file)
    curl.setopt(pycurl.HTTPHEADER, list(headers))
    curl.setopt(pycurl.TIMEOUT_MS, int(timeout * 1000))
    return curl


async def fetch(curl: pycurl.Curl, url: str) -> Answer:
    body, head = BytesIO(), BytesIO()
    curl.setopt(pycurl.URL, url)
    curl.setopt(pycurl.WRITEDATA, body)
    curl.setopt(pycurl.HEADERFUNCTION, head.write)
    code = OK
    try:
        await asyncio.to_thread(curl.perform)
    except pycurl.error as error:
        code = int(error.args[0])
    status, connect_status = (
        curl.getinfo(pycurl.RESPONSE_CODE),
        curl.getinfo(pycurl.HTTP_CONNECTCODE),
    )
    return Answer(code, status, connect_status, head.getvalue(), body.getvalue())


async def get(farm: Farm, path: str, proxy: FarmProxy | None = None, **options: float) -> Answer:
    """A path of the http origin, or a whole URL, through `proxy` or directly."""
    curl = handle(farm, proxy.url() if proxy else "", **options)  # type: ignore[arg-type]
    return await fetch(curl, path if path.startswith("http") else farm.origin.url + path)
