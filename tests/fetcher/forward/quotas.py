"""Quotas for tests that are not about them."""

from fetcher.forward.model import Quotas, Refused


class Unlimited(Quotas):
    """Everybody may all; what is spent is counted."""

    def __init__(self) -> None:
        self.inside = 0
        self.spent = 0

    def enter(self, key: str) -> Refused | None:
        self.inside += 1
        return None

    def leave(self, key: str) -> None:
        self.inside -= 1

    def ask(self, key: str) -> Refused | None:
        return None

    def spend(self, key: str, size: int) -> None:
        self.spent += size
