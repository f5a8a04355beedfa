"""Which links are followed.

A decision module. Scopes are relative to the source that a page came from, and yet nothing of a
source travels with an item: a link is in scope if it lies on the host (or the registrable domain)
of the page that names it. That page was in scope of its source, so the link is; where a source
redirects to, it is a source itself, and its links are compared with where they were read. A
redirect of any other page is judged like a link. `www.` is no other host: half of all sites
redirect from one to the other, and name both.

Only the scope "prefix" needs to know the sources, for what lies beside a page may lie below its
source: the directories of all sources, and of where they redirect to. That set is the caller's.
"""

from collections.abc import Container
from typing import Final

from fetcher.crawl.canonical import LONGEST, host_of
from fetcher.crawl.model import Options, Scope
from fetcher.errors import TaskError
from fetcher.pattern import Pattern, compile_pattern
from fetcher.task.cookies import site_of

# Heritrix' and Zeno's rules against sites that go on for ever, counted anywhere in the path.
MAX_SAME_PARTS: Final = 3  # calendars and relative links that pile up repeat a part
MAX_PARTS: Final = 30
MAX_ARGUMENTS: Final = 100


class Rules:
    """What a crawl's options say of URLs. Raises `TaskError` that names the option whose pattern
    cannot be read.

    `prefixes` has what `prefix_of` gives for every source; it is asked in scope "prefix" only.
    """

    def __init__(self, options: Options, prefixes: Container[str] = frozenset()) -> None:
        self.scope: Scope = options.scope or "host"
        self._depth = options.depth
        self._follow = options.follow and _compile("--follow", options.follow)
        self._exclude = [_compile("--exclude", text) for text in options.exclude]
        self._prefixes = prefixes

    def judge(self, url: str, *, depth: int, parent: str) -> str | None:
        """None: it is followed; else the word in `model.SKIPS` for why it is not.

        `parent` is the page that names it, both are canonical; "" for a source's URL, which only
        --exclude can keep out. Some 2 us and 1 us a pattern.
        """
        verdict = self._decide(url, depth, parent)
        return verdict and verdict[0]

    def explain(self, url: str, *, depth: int, parent: str) -> str:
        """`judge` in a sentence: which option, which pattern."""
        verdict = self._decide(url, depth, parent)
        if verdict is None:
            return "it is followed" if parent else "a source names it"
        return verdict[1]

    def _decide(self, url: str, depth: int, parent: str) -> tuple[str, str] | None:
        if parent:
            if self._depth is not None and depth > self._depth:
                return "depth", f"it lies at depth {depth}, and --depth is {self._depth}"
            if len(url) > LONGEST:
                return "long", f"it has {len(url)} characters: at most {LONGEST} are followed"
            if (why := _explain_trap(url)) is not None:
                return "trap", why
            if not self._is_in_scope(url, parent):
                return "scope", self._explain_scope(url, parent)
            if self._follow and not self._follow.search(url):
                return "follow", f"--follow {self._follow.text!r} does not match it"
        for pattern in self._exclude:
            if pattern.search(url):
                return "exclude", f"--exclude {pattern.text!r} matches it"
        return None

    def _is_in_scope(self, url: str, parent: str) -> bool:
        if self.scope == "any":
            return True
        if self.scope == "page":
            return False
        if self.scope == "prefix":
            return any(prefix in self._prefixes for prefix in _directories(url))
        here, there = host_of(parent), host_of(url)
        if here == there or here.removeprefix("www.") == there.removeprefix("www."):
            return True
        return self.scope == "domain" and site_of(parent) == site_of(url)

    def _explain_scope(self, url: str, parent: str) -> str:
        if self.scope == "page":
            return "--scope page follows no links"
        if self.scope == "prefix":
            return "it lies below no source, and --scope is prefix"
        of = host_of if self.scope == "host" else site_of
        return f"it lies on {of(url)}, its page on {of(parent)}, and --scope is {self.scope}"


def prefix_of(url: str) -> str:
    """What all URLs in scope "prefix" of a source begin with: its directory, without a scheme."""
    place = url.partition("?")[0]
    return _without_scheme(place[: place.rindex("/") + 1])


def _directories(url: str) -> list[str]:
    """The directories that a canonical URL lies in, as `prefix_of` writes them."""
    parts = _without_scheme(url.partition("?")[0]).split("/")
    return ["/".join(parts[:count]) + "/" for count in range(1, len(parts))]


def _without_scheme(url: str) -> str:
    return url[url.index("//") + 2 :].removeprefix("www.")


def _explain_trap(url: str) -> str | None:
    """Why a site that leads here may go on for ever; None: it does not look so."""
    if url.count("&") >= MAX_ARGUMENTS:
        return f"it has more than {MAX_ARGUMENTS} arguments"
    if url.count("/") <= MAX_SAME_PARTS + 2:
        return None
    parts = url.partition("?")[0].split("/")[3:]
    if len(parts) > MAX_PARTS:
        return f"its path has more than {MAX_PARTS} parts"
    if len(parts) - len(set(parts)) < MAX_SAME_PARTS:
        return None
    for part in parts:
        if parts.count(part) > MAX_SAME_PARTS:
            return f"its path has the part {part[:100]!r} more than {MAX_SAME_PARTS} times"
    return None


def _compile(option: str, text: str) -> Pattern:
    try:
        return compile_pattern(text)
    except ValueError as error:
        raise TaskError(f"{option} {text[:200]!r}: {error}") from None
