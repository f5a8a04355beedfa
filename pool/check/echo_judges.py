"""The echo judges, URLs that echo: whose turn it is, what each shows without a proxy, and which are
passed over.

A driver: it asks judges directly, at start and every ten minutes, where our own addresses are seen
as well; and again when an answer through a proxy looks wrong, so that no proxy is blamed for a
judge that has gone or lies.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final
from urllib.parse import urlsplit

from fetcher.guard import is_public, literal_address
from fetcher.model import DIRECT, Client, Limits, Request
from fetcher.urls import fit_url, loggable
from pool.check.ask import MAX_BODY, ask
from pool.check.proof import Question, Sight, is_https, read_page, read_sight, version_of
from pool.rounds import Rounds

logger = logging.getLogger(__name__)

LOOK_EVERY: Final = 600.0  # seconds between two direct looks at a judge
LOOK_AGAIN: Final = 30.0  # likewise, at one that was away
FRESH: Final = 5.0  # seconds for which a direct look counts when an answer is in doubt
FAILURES: Final = 5  # in a row through different proxies, before a judge is held to be away

# The local address that makes a socket one of this IP version.
_ANY: Final = {4: "0.0.0.0", 6: "::"}


class EchoJudge:
    """A URL that echoes. `sight` None: it has never answered us; `failed`: proxies in a row."""

    def __init__(self, url: str, *, is_page: bool = False) -> None:
        self.url = fit_url(url)
        self.is_page = is_page  # which echoes nothing, and shows only whether one gets there
        self.sight: Sight | None = None
        self.works = False  # at the last direct look
        self.looked: float | None = None  # when that began
        self.failed: set[str] = set()
        self.passed_over = False  # until a direct look succeeds
        self.named = False  # in the log, since it last worked
        self.looking = asyncio.Lock()

    @property
    def name(self) -> str:
        return loggable(self.url)

    @property
    def is_usable(self) -> bool:
        return self.sight is not None and not self.passed_over


class EchoJudges:
    """All judges of a checker. `secret` is what our own sign with; it may raise RedisAway.

    `client` is an open one: judges are the operator's. An own address that is not public counts
    only with `allow_private`, as no site could see it. `tunnel_page` stands in for a judge over
    https that there is none of (`proof.find_tunnel_page`).
    """

    def __init__(
        self,
        urls: Sequence[str],
        client: Client,
        secret: Callable[[], Awaitable[bytes]],
        limits: Limits,
        *,
        user_agent: str,
        tunnel_page: str | None = None,
        allow_private: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.judges = [EchoJudge(url) for url in dict.fromkeys(urls)]
        if tunnel_page is not None:
            self.judges.append(EchoJudge(tunnel_page, is_page=True))
        self.own: dict[int, str] = {}  # IP version -> our address
        self._client = client
        self._read_secret = secret
        self._secret = b""
        self._limits = limits
        self._headers = (b"User-Agent: " + user_agent.encode(),)
        self._allow_private = allow_private
        self._clock = clock
        self._turns = {"http": 0, "https": 0}
        self._rounds = Rounds("looking at the judges", self.look, LOOK_AGAIN)

    async def run(self) -> None:
        await self._rounds.run()

    # -- through a proxy ---------------------------------------------------------------------------

    def take(self, scheme: str) -> EchoJudge | None:
        """The judge whose turn it is, among those with an URL of this scheme."""
        usable = [
            judge
            for judge in self.judges
            if judge.is_usable and is_https(judge.url) == (scheme == "https")
        ]
        if not usable:
            return None
        turn = self._turns[scheme] = self._turns[scheme] + 1
        return usable[turn % len(usable)]

    def build_question(self, judge: EchoJudge) -> tuple[Question, Request]:
        assert judge.sight is not None, "a judge that was taken has been seen"
        nonce = secrets.token_urlsafe(16)
        question = Question(nonce, self._secret, judge.sight, dict(self.own))
        return question, self._build_request(judge, nonce)

    def heard(self, judge: EchoJudge) -> None:
        """It answered through a proxy."""
        judge.failed.clear()

    async def doubt(self, judge: EchoJudge, question: Question, proxy: str) -> bool:
        """It did not answer well through `proxy`: whether that is the proxy's doing."""
        judge.failed.add(proxy)
        fresh = LOOK_AGAIN if judge.is_page else FRESH  # a page has not offered to be asked
        await self._look_at(judge, newer_than=self._clock() - fresh)
        if judge.works:
            judge.failed.clear()
        elif len(judge.failed) >= FAILURES:
            self._pass_over(judge)
        sight = judge.sight
        return judge.works and sight is not None and sight.signs == question.sight.signs

    def _pass_over(self, judge: EchoJudge) -> None:
        judge.passed_over = True
        judge.failed.clear()
        self._name(judge)

    def _name(self, judge: EchoJudge) -> None:
        if judge.named:
            return
        judge.named = True
        if judge.is_page:
            logger.info(
                "the check page over https, %s, cannot be used: which proxies let https through"
                " (connect=1) stays unknown until it can, or until pool.judges names a URL",
                judge.name,
            )
        else:
            logger.warning("the judge %s does not answer as it should: passed over", judge.name)

    # -- directly ----------------------------------------------------------------------------------

    async def look(self) -> None:
        """Look at each judge whose time has come."""
        now = self._clock()
        await asyncio.gather(
            *(
                self._look_at(judge, now - (LOOK_EVERY if judge.works else LOOK_AGAIN / 2))
                for judge in self.judges
            )
        )

    async def _look_at(self, judge: EchoJudge, newer_than: float) -> None:
        """Ask it without a proxy, unless that was begun after `newer_than`; one at a time."""
        async with judge.looking:
            if judge.looked is not None and judge.looked > newer_than:
                return
            began = self._clock()
            self._secret = await self._read_secret()
            sight = await self._see(judge)
            judge.looked, judge.works = began, sight is not None
            if sight is None:
                if judge.sight is None:
                    self._name(judge)
                return
            judge.sight = sight
            judge.passed_over = False
            if judge.named:
                judge.named = False
                logger.info("%s answers again", judge.name)

    async def _see(self, judge: EchoJudge) -> Sight | None:
        """What it shows; our addresses on the way, one of each IP version if it has both."""
        sight = await self._ask_directly(judge, None)
        version = version_of(sight.address) if sight is not None else None
        if sight is None or version is None:
            return sight
        if literal_address(urlsplit(judge.url).hostname or "") is None:
            await self._ask_directly(judge, _ANY[10 - version])
        return sight

    async def _ask_directly(self, judge: EchoJudge, bindaddress: str | None) -> Sight | None:
        nonce = secrets.token_urlsafe(16)
        request = self._build_request(judge, nonce, bindaddress)
        response = await ask(self._client, request, DIRECT, self._limits)
        sight = read_sight(response, nonce, self._secret)
        if sight is None and judge.is_page:
            return read_page(response)
        if sight is None or sight.address is None:
            return sight
        version = version_of(sight.address)
        if version is not None and (self._allow_private or is_public(sight.address)):
            self.own[version] = sight.address
        return sight

    def _build_request(
        self, judge: EchoJudge, nonce: str, bindaddress: str | None = None
    ) -> Request:
        url = judge.url.partition("#")[0]
        if not judge.is_page:
            url += ("&" if "?" in url else "?") + f"nonce={nonce}"
        return Request(
            url=url,
            headers=self._headers,
            max_body=MAX_BODY,
            decode=False,
            bindaddress=bindaddress,
        )
