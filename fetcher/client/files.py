"""Answers file:// URLs from folders of this machine, as if by HTTP; blocking, for `threads`.

A path is resolved first and must then lie below a root. After that it is opened folder by folder
without following links, so that a link put in its way in the meantime leads nowhere.
"""

import errno
import os
import stat
from collections.abc import Callable, Sequence
from email.utils import formatdate
from typing import Final

from fetcher.client.body_budget import Budget
from fetcher.client.threads import ThreadClient, ThreadTransfer
from fetcher.errors import Code, Outcome
from fetcher.model import Response
from fetcher.task.local import build_head, file_path, guess_type, path_below

# A file of 1 MB is read in 0.1 ms; what a thread reads between two looks at whether to go on.
CHUNK: Final = 1048576

# A disk hardly gets faster by more; a dead network disk holds up others until their deadlines.
THREADS: Final = 4

# Without a wait for the other end of a pipe, and without following a link.
_OPEN: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY
_OPEN_FOLDER: Final = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW

_MISSING: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG})
_FORBIDDEN: Final = frozenset({errno.EACCES, errno.EPERM, errno.ELOOP})


class Forbidden(Exception):
    """The file may not be read; the text says why."""


def file_client(roots: Sequence[str], budget: Budget | None = None) -> ThreadClient:
    """A client for file:// URLs that name regular files below `roots`.

    Missing is 404, outside the roots or not readable 403. `roots` are looked at for each file:
    one that does not exist yet may come.
    """
    folders = tuple(roots)
    return ThreadClient(
        lambda transfer: read_file(transfer, folders),
        threads=THREADS,
        name="files",
        budget=budget,
    )


def read_file(transfer: ThreadTransfer, roots: Sequence[str]) -> Response:
    """The answer to one request. Blocks."""
    url = transfer.request.url
    try:
        descriptor = _open(file_path(url), roots)
        with open(descriptor, "rb", buffering=0) as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise Forbidden("not a regular file")
            return _read(transfer, file.read, found)
    except Forbidden as error:
        return _answer(url, 403, str(error))
    except OSError as error:
        if error.errno in _MISSING:
            return _answer(url, 404, "Not Found")
        words = error.strerror or "the file cannot be read"
        if error.errno in _FORBIDDEN:
            return _answer(url, 403, words)
        return Response(url=url, outcome=Outcome.OURS, code=Code.READ_ERROR, message=words)


def _read(
    transfer: ThreadTransfer, read: Callable[[int], bytes | None], found: os.stat_result
) -> Response:
    request = transfer.request
    fields = {
        "Content-Type": guess_type(request.url),
        "Content-Length": str(found.st_size),
        "Last-Modified": formatdate(found.st_mtime, usegmt=True),
    }
    response = _answer(request.url, 200, "OK", fields)
    if request.method == "HEAD":
        return response
    chunks, left = [], request.max_body or None
    while transfer.is_wanted:
        # One byte beyond the limit tells whether it was kept.
        chunk = read(CHUNK if left is None else min(CHUNK, left + 1))
        if not chunk:
            break
        transfer.hold(len(chunk))
        if left is not None:
            if len(chunk) > left:
                response.outcome, response.code = Outcome.OURS, Code.FILESIZE_EXCEEDED
                response.message = f"the body is over the limit of {request.max_body} bytes"
                chunks.append(chunk[:left])
                break
            left -= len(chunk)
        chunks.append(chunk)
    response.body = b"".join(chunks)
    return response


def _open(path: str, roots: Sequence[str]) -> int:
    """A descriptor of the regular file that `path` resolves to. Raises `Forbidden`, OSError."""
    real = os.path.realpath(path)
    for root in map(os.path.realpath, roots):
        rest = path_below(real, root)
        if rest is not None:
            return _open_below(root, rest)
    raise Forbidden("the file is not below fetcher.file_roots")


def _open_below(root: str, rest: str) -> int:
    """Neither a link nor a device is opened: opening some devices does something."""
    *folders, name = rest.split("/")
    folder = os.open(root, _OPEN_FOLDER)
    try:
        for one in folders:
            inner = os.open(one, _OPEN_FOLDER, dir_fd=folder)
            os.close(folder)
            folder = inner
        if not name or not stat.S_ISREG(os.lstat(name, dir_fd=folder).st_mode):
            raise Forbidden("not a regular file")
        return os.open(name, _OPEN, dir_fd=folder)
    finally:
        os.close(folder)


def _answer(
    url: str, status: int, reason: str, fields: dict[str, str | None] | None = None
) -> Response:
    head = build_head(status, reason, fields or {})
    return Response(url=url, outcome=Outcome.ANSWERED, status=status, head=head, sent=True)
