"""A body in as few objects as its size needs.

An object of two bytes takes 35 and its place in a list 8: 33 MB in such pieces were 3 GB.
"""

from typing import Final

Chunks = list[bytes | bytearray]

# Below it a copy costs less than an object kept; libcurl hands over 16 kB at a time.
SMALL: Final = 2048

# One piece may grow so far: it moves when it does.
PIECE: Final = 65536


def add_chunk(chunks: Chunks, chunk: bytes) -> None:
    """Put `chunk` behind `chunks`, into the last of them if both are small.

    The first stays as it came, so a body in one piece is joined without a copy.
    """
    if len(chunk) >= SMALL or not chunks:
        chunks.append(chunk)
        return
    last = chunks[-1]
    if type(last) is bytearray and len(last) < PIECE:
        last += chunk
    else:
        chunks.append(bytearray(chunk))
