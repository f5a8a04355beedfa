"""What is told of sources at which nobody answers: is it they, or is our own line down?

A decision module. A source that cannot be reached is held back until another one has answered:
then it is its own trouble, and told of. As long as nobody answers, it is the line, and one sentence
tells of that instead of one for each source.
"""

from typing import Final

import msgspec

PATIENCE: Final = 10.0  # seconds without an answer until the line is said to be down


class Told(msgspec.Struct, frozen=True):
    """What is to be said: `single` of sources by themselves, `down` and `up` of the line."""

    single: tuple[str, ...] = ()
    down: str | None = None
    up: bool = False


NOTHING: Final = Told()


class _Held(msgspec.Struct, frozen=True):
    began: float
    said: str


class Line:
    """Our line, as the sources show it; `sources` is how many there are to be asked.

    Times are seconds since the epoch, as in the accounts of the sources, which tell what other
    processes have seen. What it holds is bounded by `sources`.
    """

    def __init__(self, sources: int) -> None:
        self._sources = sources
        self._held: dict[str, _Held] = {}
        self._first: tuple[float, str] | None = None  # when, and why
        self._answered = float("-inf")
        self._is_down = False  # and said to be

    def fail(
        self, name: str, said: str, reason: str, *, began: float, answered: float, now: float
    ) -> Told:
        """Nobody answered at source `name`, which was asked at `began`. `said` tells of that, and
        `reason` why; `answered` is when any other source last did, as far as others know."""
        self._answered = max(self._answered, answered)
        if self._sources < 2:
            told = NOTHING if self._is_down else Told((said,))
            self._is_down = True
            return told
        if self._answered >= began:  # the line is up, whatever became of this one
            told = self._release()
            return Told((*told.single, said), up=told.up)
        self._held[name] = _Held(began, said)
        if self._first is None:
            self._first = (now, reason)
        since, why = self._first
        if self._is_down or (len(self._held) < self._sources and now - since < PATIENCE):
            return NOTHING
        self._is_down = True
        count = len(self._held)
        which = f"{count} sources" if count >= self._sources else f"{count} sources asked so far"
        return Told(down=f"none of the {which} can be reached: {why}")

    def answer(self, now: float) -> Told:
        """A source has answered, whatever it said."""
        self._answered = max(self._answered, now)
        return self._release()

    def _release(self) -> Told:
        """The line is up. What was held back while it was not is no trouble of the sources' own."""
        held, was_down = self._held, self._is_down
        self._held, self._first, self._is_down = {}, None, False
        return Told(() if was_down else tuple(one.said for one in held.values()), up=was_down)
