"""How many bytes of bodies this process may hold, over all its transfers and results.

A decision module: it counts and says; who stops whom is the client's business. Each body has a
limit of its own (`max_body`), but a few hundred of them together would still fill the memory. What
it takes to undo them counts too, and what libcurl keeps of those that nobody reads.
"""

from typing import Protocol


class Holder(Protocol):
    """One who holds bodies that can be given up: a client with its transfers."""

    @property
    def largest_body(self) -> int:
        """Bytes of its largest body; 0 if it has none."""

    def end_largest(self) -> None:
        """Give that body up."""


class Budget:
    """Counts bytes held by `holders`, who come and go as they like. `limit` 0: no limit."""

    __slots__ = ("held", "holders", "limit")

    def __init__(self, limit: int = 0) -> None:
        self.limit = limit
        self.held = 0
        self.holders: list[Holder] = []

    def hold(self, size: int) -> bool:
        """Count `size` more bytes; False when that is more than there may be."""
        self.held += size
        return self.held <= self.limit or not self.limit

    def release(self, size: int) -> None:
        self.held -= size

    @property
    def is_spent(self) -> bool:
        return bool(self.limit) and self.held > self.limit

    def next_to_end(self) -> Holder | None:
        """Whose largest body has to go, as there is too much; None if it may all stay."""
        if not self.is_spent:
            return None
        holder = max(self.holders, key=lambda one: one.largest_body, default=None)
        return holder if holder is not None and holder.largest_body else None

    @property
    def is_tight(self) -> bool:
        """Above half: finish what is there before taking more."""
        return bool(self.limit) and self.held > self.limit // 2
