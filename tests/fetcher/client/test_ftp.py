"""FTP downloads: what libcurl is told, and that nothing of them waits on the loop."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from fetcher.client.body_budget import Budget
from fetcher.client.ftp import THREADS, ftp_client
from fetcher.client.sinks import WholeBody
from fetcher.client.threads import ThreadClient
from fetcher.errors import Code, Outcome
from fetcher.model import DIRECT, Limits, Request, Response
from tests.ftp_server import FtpServer, ftp_server
from tests.wait import wait_until

pytestmark = pytest.mark.timeout(20)

FILES = {"/a.txt": b"hello", "/big.bin": b"x" * 300_000, "/never": None}


@pytest_asyncio.fixture
async def ftp() -> AsyncIterator[FtpServer]:
    async with ftp_server(FILES, {"anonymous": "ftp@example.com", "u": "p"}) as server:
        yield server


@pytest_asyncio.fixture
async def client() -> AsyncIterator[ThreadClient]:
    with contextlib.closing(ftp_client()) as started:
        yield started


async def get(client: ThreadClient, request: Request, total: float = 10.0) -> Response:
    ended: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
    client.start(request, DIRECT, Limits(total=total, connect=5), WholeBody(ended.set_result))
    return await ended


async def test_a_file_comes_in_passive_binary_mode(client: ThreadClient, ftp: FtpServer) -> None:
    response = await get(client, Request(url=f"ftp://{ftp.place}/a.txt"))
    assert (response.status, response.body, response.code) == (200, b"hello", 0)
    assert (response.address, response.timing.total > 0) == ("127.0.0.1", True)
    assert ftp.commands[-4:] == ["EPSV", "TYPE I", "SIZE a.txt", "RETR a.txt"]


async def test_a_connection_is_kept_for_the_same_user_only(
    client: ThreadClient, ftp: FtpServer
) -> None:
    for user in ("", "", "u:p@"):
        assert (await get(client, Request(url=f"ftp://{user}{ftp.place}/a.txt"))).status == 200
    logins = [line for line in ftp.commands if line.startswith("USER")]
    assert logins == ["USER anonymous", "USER u"]


async def test_the_environment_names_no_proxy(
    client: ThreadClient, ftp: FtpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ftp_proxy", "FTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert (await get(client, Request(url=f"ftp://{ftp.place}/a.txt"))).status == 200


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/", "file:///etc/passwd", "ftps://127.0.0.1:1/", "dict://127.0.0.1/"]
)
async def test_nothing_but_ftp_is_spoken(client: ThreadClient, url: str) -> None:
    response = await get(client, Request(url=url))
    assert (response.code, response.body) == (Code.UNSUPPORTED_PROTOCOL, b"")


@pytest.mark.parametrize("limit", [299_999, 300_000, 300_001])
async def test_the_body_is_limited(client: ThreadClient, ftp: FtpServer, limit: int) -> None:
    response = await get(client, Request(url=f"ftp://{ftp.place}/big.bin", max_body=limit))
    assert len(response.body) == min(limit, 300_000)
    if limit < 300_000:
        assert (response.code, response.outcome) == (Code.FILESIZE_EXCEEDED, Outcome.OURS)
        assert response.message == "the body is over the limit of 299999 bytes"


async def test_no_limit_of_one_download_is_left_for_the_next(
    client: ThreadClient, ftp: FtpServer
) -> None:
    assert (await get(client, Request(url=f"ftp://{ftp.place}/a.txt", max_body=1))).code
    response = await get(client, Request(url=f"ftp://{ftp.place}/big.bin"))
    assert (response.status, len(response.body)) == (200, 300_000)


async def test_a_refused_connection_is_the_targets(client: ThreadClient) -> None:
    response = await get(client, Request(url="ftp://127.0.0.1:1/a"))
    assert (response.code, response.outcome) == (Code.COULDNT_CONNECT, Outcome.TARGET)


async def test_silence_ends_with_the_deadline_and_a_cancelled_download_goes_at_once(
    client: ThreadClient, ftp: FtpServer
) -> None:
    request = Request(url=f"ftp://{ftp.place}/never")
    assert (await get(client, request, total=0.2)).code == Code.OPERATION_TIMEDOUT
    called: list[Response] = []
    transfer = client.start(request, DIRECT, Limits(total=10, connect=5), WholeBody(called.append))
    await wait_until(lambda: ftp.commands.count("RETR never") == 2)
    transfer.cancel()
    assert (await get(client, Request(url=f"ftp://{ftp.place}/a.txt"))).status == 200
    assert called == []


async def test_slow_downloads_are_ended(ftp: FtpServer) -> None:
    with contextlib.closing(ftp_client(low_speed=1, low_speed_time=1)) as client:
        response = await get(client, Request(url=f"ftp://{ftp.place}/never"))
    assert (response.code, "too slow" in response.message) == (Code.OPERATION_TIMEDOUT, True)


async def test_bodies_count_against_the_budget(ftp: FtpServer) -> None:
    budget = Budget(200_000)
    with contextlib.closing(ftp_client(budget)) as client:
        response = await get(client, Request(url=f"ftp://{ftp.place}/big.bin"))
    assert (response.code, response.body, budget.held) == (Code.OUT_OF_MEMORY, b"", 0)


async def test_connections_are_closed_beside_the_loop(ftp: FtpServer) -> None:
    """The server's QUIT reply never comes: it runs on the loop that would wait for it."""
    with contextlib.closing(ftp_client()) as client:
        requests = [Request(url=f"ftp://{ftp.place}/a.txt")] * (THREADS * 2)
        await asyncio.gather(*(get(client, request) for request in requests))
        begun = time.monotonic()
    assert time.monotonic() - begun < 0.5
    assert ftp.commands.count("USER anonymous") <= THREADS
