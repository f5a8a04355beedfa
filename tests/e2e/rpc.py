"""The XML-RPC entrance over a component's fetcher, called as pyspider's web interface calls it."""

import asyncio
import xmlrpc.client
from typing import Any, Self

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from fetcher.http.gate import Gate
from fetcher.http.rpc import rpc_application
from tests.e2e.component import Component


class RpcServer:
    """`async with RpcServer(component) as rpc`: the entrance on a free port of 127.0.0.1."""

    def __init__(self, component: Component) -> None:
        fetcher = component.fetcher
        gate = Gate(keys=frozenset(), hosts=frozenset(), wildcard=False)
        self._quit = asyncio.Event()
        app = rpc_application(fetcher, fetcher.stats, gate, None, self._quit.set)
        self._server = HTTPServer(app)

    async def __aenter__(self) -> Self:
        sockets = bind_sockets(0, "127.0.0.1")
        self._server.add_sockets(sockets)
        self.url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}/"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.stop()
        await self._server.close_all_connections()

    async def call(self, method: str, *arguments: Any) -> Any:
        """In a thread: the client is the standard library's."""

        def ask() -> Any:
            with xmlrpc.client.ServerProxy(self.url, allow_none=True) as proxy:
                return getattr(proxy, method)(*arguments)

        return await asyncio.to_thread(ask)
