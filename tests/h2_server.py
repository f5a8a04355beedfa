"""The server's side of HTTP/2 on one connection, with answers that may break the rules."""

import asyncio
from collections.abc import Callable, Sequence

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded

Fields = Sequence[tuple[bytes, bytes]]
Answer = Callable[[H2Connection, int, Fields, bytes], None]
"""Called with each whole request: its stream, its fields with the pseudo ones first, its body."""


async def serve_h2(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: Answer
) -> None:
    """Until the client leaves."""
    connection = H2Connection(H2Configuration(client_side=False, header_encoding=False))
    connection.initiate_connection()
    writer.write(connection.data_to_send())
    heads: dict[int, Fields] = {}
    bodies: dict[int, bytes] = {}
    while chunk := await reader.read(65536):
        for event in connection.receive_data(chunk):
            if isinstance(event, RequestReceived):
                assert event.headers is not None
                heads[event.stream_id] = event.headers
                bodies[event.stream_id] = b""
            elif isinstance(event, DataReceived):
                assert event.flow_controlled_length is not None
                connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                bodies[event.stream_id] += event.data or b""
            elif isinstance(event, StreamEnded):
                number = event.stream_id
                answer(connection, number, heads.pop(number), bodies.pop(number))
        writer.write(connection.data_to_send())
        await writer.drain()


def respond(connection: H2Connection, stream: int, fields: Fields, body: bytes) -> None:
    """A whole answer with status 200, small enough for every window."""
    connection.send_headers(stream, [(b":status", b"200"), *fields], end_stream=not body)
    if body:
        connection.send_data(stream, body, end_stream=True)


async def serve_h2_tireless(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, size: int, sent: dict[bytes, int]
) -> None:
    """Each stream gets `size` bytes as its window allows; `sent` counts them by path."""
    connection = H2Connection(H2Configuration(client_side=False, header_encoding=False))
    connection.initiate_connection()
    writer.write(connection.data_to_send())
    paths: dict[int, bytes] = {}
    while received := await reader.read(65536):
        for event in connection.receive_data(received):
            if isinstance(event, RequestReceived):
                assert event.headers is not None
                paths[event.stream_id] = dict(event.headers)[b":path"]
                sent[paths[event.stream_id]] = 0
                connection.send_headers(event.stream_id, [(b":status", b"200")])
        for stream, path in list(paths.items()):
            while room := min(
                connection.local_flow_control_window(stream), 16384, size - sent[path]
            ):
                sent[path] += room
                connection.send_data(stream, b"x" * room, end_stream=sent[path] == size)
            if sent[path] == size:
                del paths[stream]
        writer.write(connection.data_to_send())
        await writer.drain()
