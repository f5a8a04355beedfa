"""What an answer for /robots.txt means, and whether it lets a user agent fetch a URL (RFC 9309).

A decision module: nothing is fetched, cached or timed here; `robots_keeper` does that. protego
reads the rules and matches paths; which group is ours and how much of a file is read is decided
here. Where the RFC leaves a choice:

- Of a redirect that leads on too often the fetch makes 599: unreachable. The RFC would also let
  it pass for a missing file; the careful reading is taken.
- A 3xx that could not be followed (no Location, 300, 304) is no file, like a 4xx: allowed.
- Crawl-delay and Request-rate are no part of a verdict; whoever keeps to them asks for them. As
  everywhere in protego, they close the list of user agents above them: "User-agent: *,
  Crawl-delay: 9, User-agent: x, Disallow: /" shuts out x alone, which is what such files mean.
"""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from hashlib import blake2b
from typing import Final
from urllib.parse import quote, urlsplit

import msgspec
from protego import Protego

from fetcher.model import Result

# RFC 9309 2.5 asks for at least 500 KiB; Google stops there as well. Decoded bytes.
MAX_BYTES: Final = 512_000

# Seconds that an unreachable file shuts its origin. Long enough that a host that is down is not
# asked once per task, short enough that its restart shuts a crawl out for a minute, not an hour.
UNREACHABLE_TTL: Final = 60.0

# protego stores each rule once per user agent of its group: without these two, 500 kB of as many
# agents as rules would become 300 million entries. The longest lists of bots in the wild have some
# hundreds of names. What is beyond a limit is not read, as with bytes.
MAX_GROUP_AGENTS: Final = 2_000
MAX_RULES: Final = 50_000  # rules times the agents they are stored for, in one file

# The sitemaps protocol wants URLs below 2,048 characters; sites with more than some hundreds of
# sitemaps name an index of them.
MAX_SITEMAPS: Final = 1_000
MAX_SITEMAP_LINE: Final = 2_100

# Above these a verdict may take longer than 1 ms (measured: up to 0.6 us a rule; a wildcard 0.6 us
# by itself, and 0.6 ns more for each character that it has to pass).
DEAR_RULES: Final = 2_000
DEAR_WILDCARDS: Final = 1_000_000  # wildcards in the file times (1,000 + characters in the URL)

_PATH: Final = "/robots.txt"
_SITEMAP: Final = ("sitemap", "site-map")
_NOT_IN_GROUPS: Final = (*_SITEMAP, "host")  # they end no group (RFC 9309 2.2.4)
_AGENT: Final = "User-agent: "
_AGENT_LINE: Final = re.compile(r"user(?:-|\s*)agent(?:\s*:|\s|$)\s*(.*)", re.IGNORECASE)
_FIRST_TOKEN: Final = re.compile(r"[^\s/;,()]+")
_FIELD: Final = re.compile(r"[^:\s]+[\s:]*")
_COMMENT: Final = re.compile(r"\(([^()]*)\)")
_ROBOT: Final = re.compile(r"[^\s/;,()]+/\S*")


class Rules(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What one origin's robots.txt says, until the clock that `read_answer` was given is `expires`.

    `weight` is what it takes of memory, in rules (300 to 600 bytes each), at least 1.
    """

    expires: float
    otherwise: bool = True  # the verdict where no group applies
    is_silent: bool = False  # no answer came at all
    parsed: Protego | None = None
    text: str = ""  # what protego was given: of each rule one more line, beside its 300 bytes
    digest: str = ""  # eight hexadecimal digits of the file's hash, "" if there is none
    sitemaps: tuple[str, ...] = ()  # the URLs it names, as they stand there
    agents: frozenset[str] = frozenset()  # the product tokens that have a group, and "*"
    lines: int = 0
    wildcards: int = 0
    weight: int = 1

    def allows(self, url: str, user_agent: str) -> bool:
        """Whether this user agent (the whole header, or a product token) may fetch the fit URL.

        The group of its product token decides, in any case of letters, else that of "*". The
        longest matching rule wins, and allow wins a tie.
        """
        if is_exempt(url):
            return True
        if self.parsed is None:
            return self.otherwise
        token = self._group_of(user_agent)
        return token is None or bool(self.parsed.can_fetch(url, token))

    def crawl_delay(self, user_agent: str) -> float | None:
        """Seconds that shall lie between two requests of this user agent, None if none are named.

        The longer of Crawl-delay and what Request-rate comes to, at whatever time of the day.
        """
        token = self._group_of(user_agent)
        if self.parsed is None or token is None:
            return None
        delay = self.parsed.crawl_delay(token)
        rate = self.parsed.request_rate(token)
        if rate is None:
            return delay
        return max(delay or 0.0, rate.seconds / rate.requests)

    def deciding_line(self, url: str, user_agent: str) -> str:
        """The Allow or Disallow line that gives the verdict on this URL, "" if none does.

        For people who ask why: 30 us a rule of the group, over a second for the largest file.
        """
        token = self._group_of(user_agent)
        if self.parsed is None or token is None or is_exempt(url):
            return ""
        is_allowed = self.allows(url, user_agent)
        best, longest = "", -1
        for line in self._lines_of(token):
            # RFC 9309 2.2.2: in octets.
            length = len(quote(_FIELD.sub("", line, count=1), safe="/%*$?=&"))
            if length > longest and _gives(is_allowed, line, url):
                best, longest = line, length
        return best

    @property
    def is_unreachable(self) -> bool:
        """Whether the file could not be had, so that nothing is allowed for a short while."""
        return not self.otherwise

    def _group_of(self, user_agent: str) -> str | None:
        """The name whose group counts for this user agent, None if there is none.

        protego remembers each name it was asked for, and takes "bot" for a part of "bots" as well;
        so it only hears names that the file has.
        """
        token = product_token(user_agent)
        if token in self.agents:
            return token
        return "*" if "*" in self.agents else None

    def _lines_of(self, token: str) -> Iterator[str]:
        """The lines in all groups of that name."""
        is_ours = was_agent = False
        for line in self.text.split("\n"):
            is_agent = line.startswith(_AGENT)
            if is_agent:
                is_ours = (was_agent and is_ours) or line == _AGENT + token
            elif is_ours:
                yield line
            was_agent = is_agent

    def is_dear(self, url: str) -> bool:
        """Whether `allows` may take over 1 ms for this URL, too long for the loop."""
        return self.lines > DEAR_RULES or self.wildcards * (1000 + len(url)) > DEAR_WILDCARDS


def read_answer(result: Result, now: float, ttl: float) -> Rules:
    """What the result of fetching `robots_url` means, from `now` on for at most `ttl` seconds.

    2xx: its rules. 3xx and 4xx: everything is allowed (RFC 9309 2.3.1.3). Else, 599 among them:
    nothing is, for `UNREACHABLE_TTL` (2.3.1.4). Takes up to half a second for the largest file.
    """
    status, body = result.status_code, result.content
    # The fetch is told to stop behind MAX_BYTES, and calls that 599; all that counts is there.
    if 200 <= status < 300 or (status == 599 and len(body) > MAX_BYTES):
        digest = blake2b(body, digest_size=4).hexdigest()
        return _parse(body, now + ttl, digest)
    if 300 <= status < 500:
        return Rules(expires=now + ttl)
    return unreachable(now, ttl, is_silent=status == 599)


def unreachable(now: float, ttl: float, *, is_silent: bool = False) -> Rules:
    """Nothing is allowed for a short while."""
    expires = now + min(ttl, UNREACHABLE_TTL)
    return Rules(expires=expires, otherwise=False, is_silent=is_silent)


def _parse(body: bytes, expires: float, digest: str) -> Rules:
    if len(body) > MAX_BYTES:
        # A line that is cut says something else: "Disallow: /" of "Disallow: /private".
        body = body[: MAX_BYTES + 1]
        body = body[: max(body.rfind(b"\n"), body.rfind(b"\r")) + 1]
    # Bytes that are no UTF-8 become U+FFFD in rules, and in URLs by protego: they match.
    text = body.decode("utf-8", "replace").removeprefix("\ufeff")
    tidy = _tidy(text.splitlines())
    sitemaps = tuple(Protego.parse("\n".join(tidy.sitemaps)).sitemaps)
    weight = tidy.weight + sum(1 + len(url) // 400 for url in sitemaps)
    if not tidy.agents:
        return Rules(expires=expires, digest=digest, sitemaps=sitemaps, weight=max(weight, 1))
    text = "\n".join(tidy.kept)
    return Rules(
        expires=expires,
        parsed=Protego.parse(text),
        text=text,
        digest=digest,
        sitemaps=sitemaps,
        agents=frozenset(tidy.agents),
        lines=len(tidy.kept),
        wildcards=text.count("*"),
        weight=weight,
    )


def _gives(verdict: bool, line: str, url: str) -> bool:
    """Whether the line by itself allows or forbids the URL; protego has no word for that."""
    beside = "Disallow: /\n" if verdict else ""  # an Allow is noticed where it overrides one
    return bool(Protego.parse(f"{_AGENT}*\n{beside}{line}").can_fetch(url, "*")) is verdict


class _Tidy(msgspec.Struct):
    kept: list[str]
    agents: set[str]
    sitemaps: list[str]  # whole lines
    weight: int


def _tidy(lines: Iterable[str]) -> _Tidy:
    """The lines within the limits, each User-agent reduced to its product token."""
    tidy = _Tidy([], set(), [], 0)
    group: set[str] = set()  # the agents of the group being read
    is_open = False  # it may take further agents
    for raw in lines:
        line = raw.partition("#")[0].strip()
        match = _AGENT_LINE.match(line)
        if match is None:
            name = line[:9].lower()
            if not line or name.startswith(_NOT_IN_GROUPS):
                is_short = len(line) <= MAX_SITEMAP_LINE
                if is_short and len(tidy.sitemaps) < MAX_SITEMAPS and name.startswith(_SITEMAP):
                    tidy.sitemaps.append(line)
                continue
            is_open = False
            if group and tidy.weight + len(group) <= MAX_RULES:
                tidy.weight += len(group)
                tidy.kept.append(line)
            continue
        if not is_open:
            group = set()
            is_open = True
            # Whatever protego made of the lines before, here its group ends as ours does: else
            # agents with lines between that it passes over would gather beyond the limit.
            tidy.kept.append("Disallow:")
        token = _agent_token(match[1])
        if token and token not in group and len(group) < MAX_GROUP_AGENTS:
            group.add(token)
            tidy.agents.add(token)
            tidy.weight += 1
            tidy.kept.append(_AGENT + token)
    return tidy


def _agent_token(text: str) -> str:
    """The product token a User-agent line names; kind to "Foobot/1.0", "Foo*" and "* # all"."""
    if text.split(maxsplit=1)[:1] == ["*"]:
        return "*"
    return product_token(text.replace("*", ""))


@lru_cache(maxsize=1024)
def product_token(user_agent: str) -> str:
    """By which name a User-Agent header answers to robots.txt (RFC 9309 2.2.1); lower case.

    Its first product, ``fetchpool`` of ``fetchpool/0.1.0 (...)``. Robots that begin with Mozilla
    stand in a comment, behind "compatible" or else as the first name/version there: ``mybot`` of
    ``Mozilla/5.0 (compatible; mybot/2; +http://...)``. Real browsers remain ``mozilla``.
    """
    first = _FIRST_TOKEN.search(user_agent)
    if first is None:
        return ""
    token = first[0].lower()
    if token != "mozilla":
        return token
    named = ""
    for comment in _COMMENT.findall(user_agent):
        parts = [part.strip() for part in comment.split(";")]
        for before, part in zip(["", *parts], parts, strict=False):
            if before.lower() == "compatible" and (found := _FIRST_TOKEN.match(part)):
                return found[0].lower()
            if not named and _ROBOT.fullmatch(part):
                named = part.partition("/")[0].lower()
    return named or token


def user_agent_of(headers: Iterable[bytes]) -> str:
    """The User-Agent among a `Request`'s header lines, "" if it has none or an empty one."""
    for line in headers:
        if line[:11].lower() == b"user-agent:":
            return line[11:].strip().decode("utf-8", "surrogateescape")
    return ""


def robots_url(url: str) -> str:
    """Where the robots.txt for a fit URL lies.

    User and password are left out: the file speaks for the origin and is shared by all its tasks.
    """
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{_PATH}"


def is_exempt(url: str) -> bool:
    """Whether no robots.txt has a say: /robots.txt itself (RFC 9309 2.2.2), and all but HTTP."""
    parts = urlsplit(url)
    return parts.path == _PATH or parts.scheme not in ("http", "https")
