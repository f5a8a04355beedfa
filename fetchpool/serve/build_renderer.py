"""The renderer: Chromium's pages, and the listeners of the forward proxy that they load through.

Nothing starts before the first page is to be rendered, neither browser nor playwright.
"""

import contextlib
from collections.abc import AsyncIterator
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from fetcher.client.chromium.browser import Browser
from fetcher.client.chromium.browsers import Browsers, Rules
from fetcher.client.chromium.client import ChromiumClient
from fetcher.client.chromium.program import AUTO, OFF, find_program
from fetcher.forward.listener import Listeners
from fetcher.forward.means import Means
from fetcher.forward.means import Rules as DoorRules
from fetcher.forward.own import Own
from fetcher.forward.quotas import KeyQuotas
from fetcher.forward.supply import Supply
from fetcher.model import Trust
from fetcher.rendering import CHROMIUM
from fetcher.route.route import DIRECT
from fetcher.run.fetcher import Fetcher
from fetcher.settings import Fetcher as Settings
from fetcher.settings import PerKey

if TYPE_CHECKING:
    from fetcher.http.handler import RendererHealth

_OFF: Final = "fetcher.renderer.chromium is off: auto finds a Chromium"
_NO_PLAYWRIGHT: Final = "playwright is not installed: pip install -r requirements-js.txt"
_NOT_YET: Final = "it starts with the first page"
_NO_PROGRAM: Final = (
    "there is no Chromium here: apt install chromium-headless-shell, or chromium;"
    " fetcher.renderer.chromium names another one"
)


def build_renderer(
    settings: Settings, fetcher: Fetcher, own: Own, *, beside: Means | None = None
) -> ChromiumClient | None:
    """Chromium becomes one of the fetcher's clients; None if there is none, and why not is said to
    those who ask. `beside`: what the forward proxy shares, where it is open in this process, too.
    """
    missing = find_missing(settings.renderer.chromium)
    program = find_program(settings.renderer.chromium)
    if missing is not None or program is None:
        fetcher.shared.missing[CHROMIUM] = missing or _NO_PROGRAM
        return None
    asked = settings.renderer
    start = partial(Browser.start, program, sandbox=asked.sandbox, memory=asked.memory)
    rules = Rules(pages=asked.pages, recycle=asked.recycle, memory=asked.memory)
    listeners = Listeners(
        _build_means(settings, fetcher, own, beside), allow_private=settings.allow_private
    )
    client = ChromiumClient(Browsers(start, rules), listeners, asked.block)
    kinds = dict(fetcher.shared.clients)
    kinds[CHROMIUM] = {Trust.OPEN: client, Trust.GUARDED: client}
    fetcher.shared.clients = kinds
    return client


def describe_renderer(client: ChromiumClient | None, fetcher: Fetcher) -> "RendererHealth":
    """Whether there is one, and whether it works, for those who ask after our health."""
    if client is None:
        return {"works": False, "reason": fetcher.shared.missing[CHROMIUM]}
    works, failure = client.browsers.works, client.browsers.failure
    return {"works": works, "reason": failure or ("" if works else _NOT_YET)}


@contextlib.asynccontextmanager
async def rendering(settings: Settings, fetcher: Fetcher) -> AsyncIterator[None]:
    """For a fetcher that belongs to no service: it renders meanwhile, if it can."""
    client = build_renderer(settings, fetcher, Own())
    try:
        yield
    finally:
        if client is not None:
            await client.close()


def find_missing(wanted: str) -> str | None:
    """Why the `fetcher.renderer.chromium` that is wanted cannot be had, and what helps."""
    if wanted == OFF:
        return _OFF
    if find_spec("playwright") is None:
        return _NO_PLAYWRIGHT
    if find_program(wanted) is not None:
        return None
    if wanted == AUTO:
        return _NO_PROGRAM
    return f"fetcher.renderer.chromium: there is no program {wanted}: auto looks for one"


def _build_means(settings: Settings, fetcher: Fetcher, own: Own, beside: Means | None) -> Means:
    means = Means(
        fetcher=fetcher,
        rules=DoorRules(route=DIRECT),
        supply=Supply(fetcher.shared.policy.ways.chooser, settings.attempt_timeout),
        quotas=KeyQuotas(PerKey(), ()),
        own=own,
        ca_file=settings.ca_file,
    )
    if beside is not None:  # what one knows of proxies, the other need not find out
        means.shunned, means.vetted = beside.shunned, beside.vetted
        means.tunnels, means.tally = beside.tunnels, beside.tally
    return means
