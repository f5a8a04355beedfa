"""Answers ftp:// URLs by libcurl; blocking, for `threads`.

Not on the multi handle of the other transfers: whenever libcurl closes an FTP connection it sends
QUIT and waits up to a second for the answer, inside whatever call it was in.
"""

import threading
from typing import Final

import pycurl

from fetcher.client.body_budget import Budget
from fetcher.client.threads import ThreadClient, ThreadTransfer
from fetcher.client.transfer import code_and_message
from fetcher.errors import Code, Outcome, Path, outcome_of
from fetcher.model import Response, Timing
from fetcher.task.local import ftp_response

THREADS: Final = 8  # transfers at once; a public server allows one address hardly more


def ftp_client(
    budget: Budget | None = None, *, low_speed: int = 0, low_speed_time: float = 0.0
) -> ThreadClient:
    """A client for ftp:// URLs: passive mode, binary, directly, never through a proxy.

    Each thread keeps the last connection it had. A transfer with fewer than `low_speed` bytes a
    second for `low_speed_time` seconds fails (0 = never).
    """
    kept = threading.local()

    def answer(transfer: ThreadTransfer) -> Response:
        curl = kept.__dict__.get("curl")
        if curl is None:
            curl = kept.curl = pycurl.Curl()
        if low_speed and low_speed_time >= 1:
            curl.setopt(pycurl.LOW_SPEED_LIMIT, low_speed)
            curl.setopt(pycurl.LOW_SPEED_TIME, int(low_speed_time))
        try:
            return _Download(transfer).run(curl)
        finally:
            curl.reset()  # keeps the connection

    return ThreadClient(answer, threads=THREADS, name="ftp", budget=budget)


class _Download:
    """One transfer on a handle of its thread."""

    def __init__(self, transfer: ThreadTransfer) -> None:
        self.transfer = transfer
        self.request = transfer.request
        self.chunks: list[bytes] = []
        self.left = self.request.max_body or None  # bytes still taken
        self.truncated = False

    def run(self, curl: pycurl.Curl) -> Response:
        code, message = int(Code.OK), ""
        try:
            self._set_options(curl)
            curl.perform()
        except pycurl.error as error:
            code, message = code_and_message(error)
        return ftp_response(self._response(curl, code, message))

    def _set_options(self, curl: pycurl.Curl) -> None:
        set_, limits = curl.setopt, self.transfer.limits
        left = max(self.transfer.time_left, 0.001)
        set_(pycurl.NOSIGNAL, 1)
        set_(pycurl.PROTOCOLS, pycurl.PROTO_FTP)
        set_(pycurl.URL, self.request.url)
        # Both, or libcurl looks into the environment.
        set_(pycurl.PROXY, "")
        set_(pycurl.NOPROXY, "")
        set_(pycurl.TIMEOUT_MS, max(1, int(left * 1000)))
        set_(pycurl.CONNECTTIMEOUT_MS, max(1, int(min(limits.connect, left) * 1000)))
        set_(pycurl.MAXCONNECTS, 1)
        set_(pycurl.WRITEFUNCTION, self._write)
        set_(pycurl.NOPROGRESS, 0)
        set_(pycurl.XFERINFOFUNCTION, self._goes_on)
        if self.request.bindaddress is not None:
            set_(pycurl.INTERFACE, self.request.bindaddress)

    def _write(self, chunk: bytes) -> int | None:
        self.transfer.hold(len(chunk))
        if self.left is not None:
            if len(chunk) > self.left:
                self.chunks.append(chunk[: self.left])
                self.truncated = True
                return -1
            self.left -= len(chunk)
        self.chunks.append(chunk)
        return None

    def _goes_on(self, *_: float) -> int:
        """Called by libcurl at least once a second."""
        return 0 if self.transfer.is_wanted else 1

    def _response(self, curl: pycurl.Curl, code: int, message: str) -> Response:
        get = curl.getinfo
        response = Response(
            url=self.request.url,
            outcome=Outcome.ANSWERED,
            code=code,
            message=message,
            status=get(pycurl.RESPONSE_CODE),
            body=b"".join(self.chunks),
            address=get(pycurl.PRIMARY_IP),
            sent=True,
            timing=Timing(
                dns=get(pycurl.NAMELOOKUP_TIME),
                first_byte=get(pycurl.STARTTRANSFER_TIME),
                total=get(pycurl.TOTAL_TIME),
            ),
        )
        if self.truncated:
            response.code = code = Code.FILESIZE_EXCEEDED
            response.message = f"the body is over the limit of {self.request.max_body} bytes"
        if code:
            path = Path(connected=bool(response.address), errno=get(pycurl.OS_ERRNO))
            response.outcome = outcome_of(code, path)
        return response
