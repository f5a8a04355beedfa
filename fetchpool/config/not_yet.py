"""Settings that are read and checked, but that nothing acts on yet.

A setting that silently does nothing is worse than one that is refused; so a
start names those of them that somebody has changed. Each leaves this table with the change that
makes it work.
"""

from typing import Any, Final

from fetchpool.config.settings import Settings

NOT_YET: Final = ("queue.transport",)


def find_ineffective(settings: Settings) -> list[str]:
    """The paths in `NOT_YET` at which `settings` differs from the defaults."""
    defaults = Settings()
    return [path for path in NOT_YET if _at(settings, path) != _at(defaults, path)]


def _at(value: Any, path: str) -> Any:
    for name in path.split("."):
        value = getattr(value, name)
    return value
