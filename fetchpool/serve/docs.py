"""The API's description of itself: /openapi.json for programs, /docs for people.

Both are made of the same tables, once, when somebody asks for them. Neither is a secret, so no key
is asked for.
"""

import asyncio
from collections.abc import Collection, Sequence
from html import escape
from typing import ClassVar, Final

import msgspec
from tornado.routing import URLSpec

from fetcher import VERSION
from fetcher.http.handler import Handler

OPENAPI: Final = "/openapi.json"
PAGE: Final = "/docs"

_HOST: Final = "host.invalid"  # stands in the page for the one by which its reader came


class Docs:
    """What there is to be read. `sites`: their names; `has_key`: routes ask for one; `patterns` are
    those of the paths that are served."""

    def __init__(self, sites: Sequence[str], *, has_key: bool) -> None:
        self.patterns: Collection[str] = ()
        self._sites = sites
        self._has_key = has_key
        self._document: bytes | None = None
        self._page: str | None = None
        self._making = asyncio.Lock()

    async def document(self) -> bytes:
        async with self._making:
            if self._document is None:
                self._document = await asyncio.to_thread(self._encode)
        return self._document

    async def page(self, host: str) -> str:
        """As whoever came by `host` sees it."""
        async with self._making:
            if self._page is None:
                self._page = await asyncio.to_thread(self._render)
        return self._page.replace(_HOST, escape(host))

    # In a thread, as they take some 50 ms.

    def _encode(self) -> bytes:
        return msgspec.json.encode(self._build()) + b"\n"

    def _render(self) -> str:
        from fetchpool.serve.reference import render_reference

        return render_reference(self._build(_HOST))

    def _build(self, host: str | None = None) -> dict[str, object]:
        # Nobody else needs the tables and what they are made of.
        from fetchpool.serve.described import describe
        from fetchpool.serve.openapi import HOST, build_document

        groups = describe(self._sites, self.patterns)
        return build_document(groups, version=VERSION, has_key=self._has_key, host=host or HOST)


class _DocsHandler(Handler):
    SUPPORTED_METHODS: ClassVar[tuple[str, ...]] = ("GET", "HEAD")  # type: ignore[misc]
    asks_for_key = False

    def initialize(self, docs: Docs) -> None:
        self.docs = docs

    async def head(self) -> None:
        await self.get()

    async def get(self) -> None:
        raise NotImplementedError


class OpenApiHandler(_DocsHandler):
    """GET /openapi.json."""

    async def get(self) -> None:
        self.set_header("Content-Type", "application/json")
        self.set_header("Cache-Control", "no-cache")
        self.finish(await self.docs.document())


class PageHandler(_DocsHandler):
    """GET /docs."""

    async def get(self) -> None:
        page = await self.docs.page(self.request.host)
        from fetchpool.serve.reference import POLICY  # with the page

        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Cache-Control", "no-cache")
        self.set_header("Content-Security-Policy", POLICY)
        self.set_header("X-Content-Type-Options", "nosniff")
        self.finish(page)


def routes(docs: Docs) -> list[URLSpec]:
    given = {"docs": docs}
    return [URLSpec(OPENAPI, OpenApiHandler, given), URLSpec(PAGE, PageHandler, given)]
