import tracemalloc

import pytest

from fetcher.client.chunks import PIECE, SMALL, Chunks, add_chunk
from fetcher.client.curl import CurlClient
from fetcher.client.sinks import WholeBody
from fetcher.model import DIRECT, Limits, Request, Response
from tests.raw_origin import RawOrigin
from tests.wait import wait_until


def collect(*sizes: int) -> tuple[Chunks, bytes]:
    chunks: Chunks = []
    pieces = [bytes([number % 256]) * size for number, size in enumerate(sizes)]
    for piece in pieces:
        add_chunk(chunks, piece)
    return chunks, b"".join(pieces)


@pytest.mark.parametrize(
    ("sizes", "kept"),
    [
        ([1], [1]),
        ([1, 1], [1, 1]),
        ([1, 1, 1], [1, 2]),
        ([SMALL, SMALL - 1, SMALL - 1], [SMALL, 2 * SMALL - 2]),
        ([SMALL, SMALL, SMALL], [SMALL, SMALL, SMALL]),
        ([1, 1, SMALL, 1, 1], [1, 1, SMALL, 2]),
        ([9, *[1024] * 65], [9, PIECE, 1024]),
        ([9, *[1024] * 63, 1023, 2, 1], [9, PIECE + 1, 1]),
    ],
)
def test_small_pieces_are_put_together(sizes: list[int], kept: list[int]) -> None:
    chunks, whole = collect(*sizes)
    assert [len(chunk) for chunk in chunks] == kept
    assert b"".join(chunks) == whole


def test_one_piece_stays_as_it_came() -> None:
    chunks: Chunks = []
    piece = b"a piece"
    add_chunk(chunks, piece)
    assert b"".join(chunks) is piece


async def test_a_body_in_chunks_of_two_bytes_takes_less_than_four_times_its_size() -> None:
    size = 1_000_000
    ended: list[Response] = []
    client = CurlClient(force_instance=True)
    async with RawOrigin() as origin:
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        pieces = [b"2\r\nok\r\n" * 10_000] * (size // 20_000)  # the same object each time
        request = Request(url=origin.add(head, *pieces, b"0\r\n\r\n"))
        tracemalloc.start()
        client.start(request, DIRECT, Limits(total=50.0, connect=5.0), WholeBody(ended.append))
        await wait_until(lambda: ended, timeout=50)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        client.close()
    assert len(ended[0].body) == size
    assert peak < 4 * size
