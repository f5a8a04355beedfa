"""What is said of a parameter or a path that is not there: which there are, and which was meant.

A decision module.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final

MOST: Final = 5  # unknown names in one sentence
LONGEST: Final = 50  # characters of one that are shown, and compared with others
LONGEST_PATH: Final = 100

_OPTIONAL: Final = re.compile(r"\(\?:[^)]*\)\?|/\?\Z")
_GROUP: Final = re.compile(r"\([^)]*\)")


def explain_parameters(given: Iterable[str], taken: Sequence[str], route: str) -> str | None:
    """What is wrong with the parameters in `given` for `route`, None if it takes all of them.

    Names are read as latin-1, as Tornado reads them.
    """
    unknown = [name for name in given if name not in taken]
    if not unknown:
        return None
    words = ", ".join(_describe(name, taken) for name in unknown[:MOST])
    if len(unknown) > MOST:
        words += f" and {len(unknown) - MOST} more"
    known = ", ".join(taken) or "no parameters"
    return f"unknown parameter{'s' * (len(unknown) > 1)} {words}: {route} takes {known}"


def _describe(name: str, taken: Sequence[str]) -> str:
    name = name.encode("latin-1", "replace").decode("utf-8", "replace")[:LONGEST]
    shown = repr(name)
    meant = _find_nearest(name.lower(), taken)
    return f"{shown} (did you mean {meant}?)" if meant is not None else shown


def explain_path(path: str, routes: Sequence[str]) -> str:
    """For a path that none of `routes` has, in lines."""
    shown = path[:LONGEST_PATH].encode("unicode_escape").decode("ascii")
    meant = _find_route(path, routes) if len(path) <= LONGEST_PATH else None
    hint = f"; did you mean {meant}?" if meant is not None else "."
    return f"There is nothing at {shown}{hint}\nThere are: {' '.join(routes)}\n"


def _find_route(path: str, routes: Sequence[str]) -> str | None:
    """The nearest, or the one that lies so below another: /proxy_pool/get for /get."""
    plain = path.rstrip("/").lower()
    if not plain:
        return None
    for route in routes:
        if route == plain or route.endswith(plain):
            return route
    return _find_nearest(plain, routes)


def _find_nearest(name: str, names: Sequence[str]) -> str | None:
    from difflib import get_close_matches  # for those who err; 3 ms of each start

    return next(iter(get_close_matches(name, names, n=1)), None)


def name_routes(patterns: Iterable[str]) -> list[str]:
    """How routes are called whose paths match these patterns, each once: ``/api/proxies/P``."""
    named = (_OPTIONAL.sub("", pattern.removesuffix("$")) for pattern in patterns)
    return sorted({_GROUP.sub("P", name) for name in named})
