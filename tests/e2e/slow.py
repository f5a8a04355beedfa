"""A site whose pages wait until they may come, in a thread beside the test."""

import contextlib
import http.server
import threading
from collections.abc import Iterator


class SlowSite(http.server.ThreadingHTTPServer):
    """Every page waits until `gate` is set."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), SlowPage)
        self.gate = threading.Event()
        self.asked = 0
        self.url = f"http://127.0.0.1:{self.server_address[1]}/slow"

    def handle_error(self, request: object, client_address: object) -> None:
        """Who asked may have been killed meanwhile."""


class SlowPage(http.server.BaseHTTPRequestHandler):
    server: SlowSite

    def do_GET(self) -> None:
        self.server.asked += 1
        self.server.gate.wait(30)
        self.send_response(200)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"done")

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@contextlib.contextmanager
def slow_site() -> Iterator[SlowSite]:
    with SlowSite() as started:
        thread = threading.Thread(target=started.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield started
        started.gate.set()
        started.shutdown()
        thread.join(10)
