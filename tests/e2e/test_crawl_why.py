"""`crawls why` on a hundred URLs of which it is known what has become of them."""

import re
from itertools import count

import pytest

from fetcher.crawl.model import Options
from fetcher.settings import Redis as RedisSettings
from fetchpool.commands.crawl_options import Asked
from fetchpool.commands.crawls import on_crawl
from fetchpool.config.settings import Settings
from tests.e2e.crawling import crawl_here
from tests.e2e.origin import Ask, Origin, links, page

pytestmark = pytest.mark.timeout(120)

ROBOTS = "User-agent: *\nDisallow: /deny\nAllow: /deny9\n"
IT_IS = "it is a page of the crawl"
ATTEMPT = re.compile(r"attempt \d+: \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC, direct, \d+\.\d\d s: (.*)")


def several(stem: str, number: int) -> list[str]:
    return [f"/{stem}{n}" for n in range(number)]


class Web:
    """What it has, and what `why` has to say of each: a sentence, the parent, lines of robots.txt,
    and the outcomes of the attempts."""

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self.broken = count()
        self.fates: dict[str, tuple[str, str, str, list[str]]] = {}
        at = origin.url
        top = at("h.localhost")
        self.add(top, IT_IS, "", ["200"])
        for path in several("page", 30):
            self.add(at("h.localhost", path), IT_IS, top, ["200"])
        for path in several("deny", 9):
            forbidden = "it was not fetched: robots.txt forbids it"
            self.add(at("h.localhost", path), forbidden, top, [], "Disallow: /deny")
        self.add(at("h.localhost", "/deny9"), IT_IS, top, ["404"])
        for path in several("no", 10):
            self.add(
                at("h.localhost", path),
                "an --exclude pattern matches it (--exclude '/no[0-9]' matches it)",
                top,
                [],
            )
        for n in range(10):
            self.add(at(f"h{n}.localhost"), "it lies outside of the scope", top, [])
        for path in several("loose", 5):
            self.add(at("h.localhost", path), "the link or its page says nofollow", top, [])
        self.add(at("h.localhost", "/x" * 12), "a part of its path repeats", top, [])
        long = at("h.localhost", "/" + "y" * 4100)
        self.add(long, "no page has named it so far, and no source; it has 412", "", [])
        for path in several("moved", 8):
            target = at("h.localhost", path.replace("moved", "target"))
            self.add(at("h.localhost", path), f"it led to {target}", top, ["302"])
            self.add(target, IT_IS, top, ["200"])
        for path in several("broken", 1):
            self.add(at("h.localhost", path), IT_IS, top, ["500", "500"])
        for path in several("flaky", 1):
            self.add(at("h.localhost", path), IT_IS, top, ["500", "200"])
        for path in several("gone", 5):
            self.add(at("h.localhost", path), IT_IS, top, ["404"])
        slow = "Operation timed out"
        self.add(at("h.localhost", "/silent"), "it could not be fetched: " + slow, top, [slow] * 2)
        for path in several("deep", 4):
            self.add(at("h.localhost", path), IT_IS, at("h.localhost", "/page0"), ["200"])
        for path in several("deeper", 4):
            parent = at("h.localhost", "/deep0")
            self.add(at("h.localhost", path), "it lies deeper than --depth", parent, [])
        for n in range(5):
            self.add(at("h.localhost", f"/hop{n}"), "it led to", top, ["302"])
        self.add(at("h.localhost", "/hop5"), "too many redirects led to it", top, ["302"])
        self.add(at("h.localhost", "/out"), "it led to", top, ["302"])
        self.add(at("o.localhost"), "it lies outside of the scope", at("h.localhost", "/out"), [])

    def add(
        self, url: str, sentence: str, parent: str, outcomes: list[str], robots: str = ""
    ) -> None:
        self.fates[url] = sentence, parent, robots, outcomes

    def answer(self, ask: Ask) -> bytes | None:
        kind = ask.path.rstrip("0123456789").lstrip("/")
        match kind:
            case "robots.txt":
                return page(ROBOTS, kind="text/plain")
            case "":
                loose = "".join(
                    f'<a rel=nofollow href="{one}">.</a>' for one in several("loose", 5)
                )
                return page(links(*self.named()) + loose)
            case "moved":
                return page("", f"Location: {ask.path.replace('moved', 'target')}", status=302)
            case "hop":
                return page("", f"Location: /hop{int(ask.path[4:]) + 1}", status=302)
            case "out":
                return page("", f"Location: {self.origin.url('o.localhost')}", status=302)
            case "broken":
                return page(status=500)
            case "flaky" if self.origin.paths().count(ask.path) == 1:
                return page(status=500)
            case "gone" | "deny":
                return page(status=404)
            case "silent":
                return None
            case "page":
                return page(links(*several("deep", 4)) if ask.path == "/page0" else "")
            case "deep":
                return page(links(*several("deeper", 4)) if ask.path == "/deep0" else "")
        return page("something")

    def named(self) -> list[str]:
        """What the first page names."""
        top = self.origin.url("h.localhost")
        hidden = re.compile("/(target|hop[1-9]|loose)")
        return [
            url for url, (_, parent, *_) in self.fates.items()
            if parent == top and not hidden.search(url)
        ]  # fmt: skip


async def test_why_names_rule_robots_line_parent_and_attempts(one_redis, redis, capsys) -> None:
    with Origin(lambda ask: web.answer(ask)) as origin:
        web = Web(origin)
        options = Options(
            sources=(origin.url("h.localhost"),),
            scope="host",
            depth=2,
            exclude=("/no[0-9]",),
            retries=1,
            timeout=0.5,
            delay=0.001,
        )
        _, state = await crawl_here(redis, options)
    assert state == "finished"
    assert len(web.fates) >= 100
    settings = Settings(redis=RedisSettings(url=one_redis.url, prefix="here"))
    wrong = []
    for url, (sentence, parent, robots, outcomes) in web.fates.items():
        assert await on_crawl(settings, Asked(verb="why", name="here", url=url)) == 0
        first, *rest = capsys.readouterr().out.splitlines()
        named = rest.pop(0) if rest else ""
        lines = [rest.pop(0)] if rest and rest[0].startswith("robots.txt: ") else []
        attempts = [found[1] if (found := ATTEMPT.fullmatch(line)) else line for line in rest]
        is_right = (
            first.startswith(f"{url}: ")
            and sentence in first
            and named.startswith(
                f"found on {parent} (depth " if parent else "a source"[: len(named)]
            )
            and lines == ([f"robots.txt: {robots}"] if robots else [])
            and len(attempts) == len(outcomes)
            and all(map(str.startswith, attempts, outcomes))
        )
        if not is_right:
            wrong.append((first, named, lines, rest, sentence, parent, outcomes))
    assert wrong == []
    unknown = Asked(verb="why", name="here", url=origin.url("h.localhost", "/unknown"))
    assert await on_crawl(settings, unknown) == 0
    assert "no page has named it so far, and no source" in capsys.readouterr().out
