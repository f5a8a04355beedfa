"""How many bytes of bodies this process may hold, over all its transfers and results.

A decision module: it counts and says; who stops whom is the client's business. Each body has a
limit of its own (`max_body`), but a few hundred of them together would still fill the memory.
"""


class Budget:
    """Counts bytes held. `limit` 0: no limit."""

    __slots__ = ("held", "limit")

    def __init__(self, limit: int = 0) -> None:
        self.limit = limit
        self.held = 0

    def hold(self, size: int) -> bool:
        """Count `size` more bytes; False when that is more than there may be."""
        self.held += size
        return not self.is_spent

    def release(self, size: int) -> None:
        self.held -= size

    @property
    def is_spent(self) -> bool:
        return bool(self.limit) and self.held > self.limit

    @property
    def is_tight(self) -> bool:
        """Above half: finish what is there before taking more."""
        return bool(self.limit) and self.held > self.limit // 2
