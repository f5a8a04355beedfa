"""Terms: what whoever starts a task wants beside its result."""

from typing import Any, Final, Protocol

import msgspec

from fetcher.model import NO_WISHES, Result, Upload, Wishes
from fetcher.run.polite import Line
from fetcher.task.request import Plan


class Receiver(Protocol):
    """Who takes an answer as it comes. One that is short, or none, may come whole to `done`."""

    def begin(self, fetching: Any, result: Result) -> None:
        """The head is here: `result` without its content. `fetching` is the `Fetching`."""

    def chunk(self, data: bytes) -> None:
        """Some of the body. `Fetching.pause` and `resume` set the pace."""


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """Nearly all tasks have the same, none.

    A `receiver` takes the answer as it comes, and an `upload`, sent once, is the body; `patient`:
    the task's time is for the head alone, the whole may take `fetcher.max_timeout`. `takes`: the
    receiver's Accept-Encoding, so that what is coded like that comes as it is. `delay` is kept by a
    task that says nothing of one; `line` hears whether it waits for its start. `plan`: what
    `build_plan` made of a task with the same options (5 us less); one for that very URL, the same
    object, is taken as it is. `wishes` are what the proxies of a pool shall be for it. `guarded`:
    whatever the trust in what its route names, where it leads is guarded.
    """

    receiver: Receiver | None = None
    upload: Upload | None = None
    patient: bool = False
    takes: str = ""
    delay: float = 0.0
    line: Line | None = None
    plan: Plan | None = None
    wishes: Wishes = NO_WISHES
    guarded: bool = False


NO_TERMS: Final = Terms()
