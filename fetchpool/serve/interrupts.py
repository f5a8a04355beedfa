"""What Ctrl-C means: the end at once, or an exception, as long as there is something to leave tidy.

Python raises KeyboardInterrupt wherever it is. In the middle of an import that is told as an error
of whatever is being imported, or as an "exception ignored" in a callback of the import system; and
there is nothing to tidy up yet.
"""

import contextlib
import signal
from collections.abc import Iterator


def end_at_once() -> None:
    """From now on SIGINT ends the process without a word; one that is ignored stays so."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextlib.contextmanager
def heeded() -> Iterator[None]:
    """Meanwhile it is KeyboardInterrupt again, unless something else has been made of it."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        end_at_once()
