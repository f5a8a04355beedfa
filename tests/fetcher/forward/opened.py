"""Tunnels as the table has them, without a connection behind them."""

from fetcher.forward.model import Authority, Caller
from fetcher.forward.tunnels import Tunnels
from fetcher.proxy import Proxy, parse_proxy

PROXY = parse_proxy("http://user:secret@127.0.0.9:8080")


class Opened:
    """One that is open since `began` until it is closed."""

    def __init__(self, began: float = 0.0, key: str = "ann", proxy: Proxy | None = PROXY) -> None:
        self.caller = Caller(key=key, address="127.0.0.1:40000")
        self.target = Authority("site.example", 443)
        self.proxy = proxy
        self.began = began
        self.sent = 10
        self.received = 2000
        self.table: Tunnels | None = None
        self.closed = 0

    def enter(self, table: Tunnels, kind: str = "connect") -> "Opened":
        self.table = table
        table.add(self, kind)
        return self

    def close(self) -> None:
        self.closed += 1
        if self.table is not None:
            self.table.remove(self)
