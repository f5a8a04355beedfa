"""Which files are read, and how what cannot be read is told."""

import asyncio
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from fetcher.client.body_budget import Budget
from fetcher.client.files import CHUNK, file_client
from fetcher.client.sinks import WholeBody
from fetcher.errors import Code, Outcome
from fetcher.model import DIRECT, Limits, Request, Response

pytestmark = pytest.mark.timeout(15)

OUTSIDE = b"HTTP/1.1 403 the file is not below fetcher.file_roots\r\n\r\n"
IRREGULAR = b"HTTP/1.1 403 not a regular file\r\n\r\n"
MISSING = b"HTTP/1.1 404 Not Found\r\n\r\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """`root` with a.txt and d/b, beside `rooted/c`, which is outside."""
    root = tmp_path / "root"
    (root / "d").mkdir(parents=True)
    (root / "a.txt").write_bytes(b"a")
    (root / "d" / "b").write_bytes(b"b")
    (tmp_path / "rooted").mkdir()
    (tmp_path / "rooted" / "c").write_bytes(b"c")
    return root


async def read(
    url: str,
    *roots: Path | str,
    method: str = "GET",
    max_body: int = 0,
    budget: Budget | None = None,
) -> Response:
    client = file_client([str(one) for one in roots], budget)
    ended: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
    request = Request(url=url, method=method, max_body=max_body)
    try:
        client.start(request, DIRECT, Limits(total=10, connect=1), WholeBody(ended.set_result))
        return await ended
    finally:
        client.close()


def link(target: str) -> Callable[[Path], None]:
    return lambda root: (root / "x").symlink_to(target)


def bind_socket(root: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        folder = os.open(root, os.O_RDONLY)  # the whole path may be too long for a socket
        try:
            listener.bind(f"/proc/self/fd/{folder}/x")
        finally:
            os.close(folder)


READ = [
    # made at root/x, path asked for, content or head of the refusal
    (None, "a.txt", b"a"),
    (None, "d/b", b"b"),
    (None, "d/../a.txt", b"a"),
    (None, "d//./b", b"b"),
    (None, "%61.txt", b"a"),
    (link("a.txt"), "x", b"a"),
    (link("d"), "x/b", b"b"),
    (link("../root/d/../a.txt"), "x", b"a"),
    (link("../rooted/c"), "x", OUTSIDE),
    (link("../rooted"), "x/c", OUTSIDE),
    (link("../rooted/none"), "x", OUTSIDE),
    (link("/etc/passwd"), "x", OUTSIDE),
    (link("/dev/zero"), "x", OUTSIDE),
    (link("none"), "x", MISSING),
    (link("x"), "x", b"HTTP/1.1 403 "),
    (None, "../rooted/c", OUTSIDE),
    (None, "..%2frooted%2fc", OUTSIDE),
    (None, "../none", OUTSIDE),
    (None, "none", MISSING),
    (None, "none/none", MISSING),
    (None, "a.txt/none", MISSING),
    (None, "n" * 256, MISSING),
    (None, "d", IRREGULAR),
    (None, "", IRREGULAR),
    (lambda root: os.mkfifo(root / "x"), "x", IRREGULAR),
    (bind_socket, "x", IRREGULAR),
]


@pytest.mark.parametrize(("make", "path", "expected"), READ)
async def test_only_regular_files_below_a_root_are_read(
    root: Path, make: Callable[[Path], None] | None, path: str, expected: bytes
) -> None:
    if make is not None:
        make(root)
    response = await read(f"file://{root}/{path}", root)
    assert response.outcome is Outcome.ANSWERED
    if len(expected) == 1:
        assert (response.status, response.body) == (200, expected)
    else:
        assert (response.body, response.head.startswith(expected)) == (b"", True), response.head


async def test_roots_may_be_many_links_missing_or_relative(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = root.parent / "link"
    other.symlink_to(root, target_is_directory=True)
    url = f"file://{root}/a.txt"
    assert (await read(url, "/nonexistent", other)).body == b"a"
    assert (await read(f"file://{other}/a.txt", root)).body == b"a"
    assert (await read(url, root / "d")).status == 403
    assert (await read(url)).status == 403
    assert (await read(url, "/")).body == b"a"
    monkeypatch.chdir(root.parent)
    assert (await read(url, "root")).body == b"a"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
async def test_a_file_that_we_may_not_read_is_a_403(root: Path) -> None:
    (root / "a.txt").chmod(0)
    response = await read(f"file://{root}/a.txt", root)
    assert response.head.startswith(b"HTTP/1.1 403 Permission denied\r\n")


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1])
async def test_a_file_comes_whole(root: Path, size: int) -> None:
    body = os.urandom(size)
    (root / "big.bin").write_bytes(body)
    budget = Budget(2 * CHUNK)
    response = await read(f"file://{root}/big.bin", root, budget=budget)
    assert response.body == body
    assert f"\r\nContent-Length: {size}\r\n".encode() in response.head
    assert (budget.held, budget.holders) == (0, [])


@pytest.mark.parametrize("limit", [CHUNK - 1, CHUNK, CHUNK + 1, CHUNK + 2])
async def test_more_than_the_limit_fails_with_the_words_of_http(root: Path, limit: int) -> None:
    (root / "big").write_bytes(b"x" * (CHUNK + 1))
    response = await read(f"file://{root}/big", root, max_body=limit)
    assert len(response.body) == min(limit, CHUNK + 1)
    if limit < CHUNK + 1:
        assert (response.code, response.outcome) == (Code.FILESIZE_EXCEEDED, Outcome.OURS)
        assert response.message == f"the body is over the limit of {limit} bytes"
    else:
        assert (response.code, response.outcome) == (0, Outcome.ANSWERED)


async def test_head_reads_nothing(root: Path) -> None:
    with (root / "huge.html").open("wb") as file:
        file.truncate(1 << 40)
    response = await read(f"file://{root}/huge.html", root, method="HEAD", max_body=1)
    assert (response.status, response.code, response.body) == (200, 0, b"")
    assert b"\r\nContent-Type: text/html\r\nContent-Length: 1099511627776\r\n" in response.head


async def test_more_than_all_bodies_may_take_is_given_up(root: Path) -> None:
    with (root / "huge").open("wb") as file:
        file.truncate(1 << 40)
    response = await read(f"file://{root}/huge", root, budget=Budget(3 * CHUNK))
    assert (response.code, response.body) == (Code.OUT_OF_MEMORY, b"")
