"""Sending: a body that goes out as its producer has it, and what may be wrong with it.

What is wrong ends the request so that its target never takes it for a whole one: no last chunk,
no full Content-Length.
"""

import logging
from typing import Final

import pycurl

from fetcher.model import Upload

logger = logging.getLogger(__name__)

_WAIT: Final = pycurl.READFUNC_PAUSE
_STOP: Final = pycurl.READFUNC_ABORT


class Sending:
    """One `upload` on its way out."""

    __slots__ = ("begun", "complete", "problem", "sent", "upload", "waits", "woken")

    def __init__(self, upload: Upload) -> None:
        self.upload = upload
        self.begun = False  # some of it may be gone for good
        self.sent = 0  # bytes that libcurl has taken
        self.complete = False
        self.waits = False  # libcurl was told to wait
        self.woken = False  # since then there is more
        self.problem = ""  # why the request must not be completed

    @property
    def has_failed(self) -> bool:
        """Whether the producer says that the rest will not come."""
        return self.upload.failed and not self.complete

    def break_off(self) -> str:
        """The producer has failed: what is to be said of it."""
        self.problem = f"the sender of the body broke off after {self.sent} bytes"
        return self.problem

    def read(self, size: int) -> bytes | int:
        """READFUNCTION: at most `size` bytes, none at the end, or what libcurl is to do."""
        self.begun, self.woken = True, False
        try:
            chunk = self.upload.read(size)
            if self.has_failed:
                self.break_off()
            elif chunk is None:
                self.waits = True
                return _WAIT
            elif len(chunk) > size:
                self.problem = f"the body to send came with {len(chunk)} bytes in place of {size}"
            else:
                self._count(chunk)
        except Exception as error:
            logger.exception("reading a body to send failed")
            self.problem = f"the body to send failed: {type(error).__name__}: {error}"
        if self.problem:
            return _STOP
        return chunk or b""

    def _count(self, chunk: bytes) -> None:
        declared = self.upload.size
        self.sent += len(chunk)
        if declared is None:
            self.complete = not chunk
        elif not chunk and self.sent < declared:
            self.problem = f"the body to send ended after {self.sent} of {declared} bytes"
        elif self.sent == declared:
            # Asked while these bytes are still ours to keep.
            if self.upload.read(1):
                self.problem = f"the body to send is longer than the {declared} bytes declared"
            elif self.has_failed:
                self.break_off()
            else:
                self.complete = True
