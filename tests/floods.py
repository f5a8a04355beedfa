"""Origins of HTTP/2, each in a thread of its own, that never end what they send.

In the loop of the test they would have to wait for each call of what is tested, and so would end.
"""

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from typing import NamedTuple

from fetchpool.farm.certificate import Certificate


class Floods(NamedTuple):
    urls: list[str]
    begin: threading.Event


@contextlib.contextmanager
def flooding(
    count: int, certificate: Certificate, greeting: bytes, flood: bytes
) -> Iterator[Floods]:
    """`count` of them answer with `greeting`, and with `flood` without an end once it is to
    `begin`."""
    context = certificate.server_context()
    context.set_alpn_protocols(["h2"])
    begin, over = threading.Event(), threading.Event()
    connections: list[ssl.SSLSocket] = []

    def serve(listening: socket.socket) -> None:
        with contextlib.suppress(OSError):  # it has been cut, or all is over
            while True:
                raw, _ = listening.accept()
                with (
                    contextlib.suppress(OSError),
                    raw,
                    context.wrap_socket(raw, server_side=True) as connection,
                ):
                    connections.append(connection)
                    talk(connection)

    def talk(connection: ssl.SSLSocket) -> None:
        connection.recv(65536)
        connection.sendall(greeting)
        begin.wait()
        while not over.is_set():
            connection.sendall(flood)

    with contextlib.ExitStack() as stack:
        listening = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)
        ]
        threads = [threading.Thread(target=serve, args=(one,), daemon=True) for one in listening]
        for thread in threads:
            thread.start()
        try:
            ports = [one.getsockname()[1] for one in listening]
            yield Floods([f"https://127.0.0.1:{port}" for port in ports], begin)
        finally:
            over.set()
            begin.set()
            for one in (*listening, *connections):  # closing would not wake who waits for them
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()
