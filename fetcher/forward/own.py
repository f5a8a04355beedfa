"""Own: which addresses are this machine's, so that nobody is led back to us.

A driver: it asks the kernel, which lets a socket be bound to nothing but its own addresses.
"""

import socket
from functools import lru_cache

from fetcher.guard import literal_address
from fetcher.model import Trust
from fetcher.proxy import Proxy


@lru_cache(maxsize=8192)
def is_own_address(address: str) -> bool:
    """Whether this machine answers on `address` (IPv4 or IPv6 text); 4 us when it is asked first.

    All of 127/8 is. An interface that comes later is noticed when its address falls out of the
    cache: whoever gets new ones restarts.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address.partition("%")[0], 0))
    except OSError:
        return False
    return True


class Own:
    """Our entrances. `ports` are filled when they are open, as settings may leave them to the
    kernel."""

    def __init__(self) -> None:
        self.ports: set[int] = set()

    def is_loop(self, host: str, port: int) -> bool:
        """Whether `host`, an address in any spelling, and `port` are an entrance of ours."""
        if port not in self.ports:
            return False
        address = literal_address(host)
        if address is None:
            return host.rstrip(".").lower() == "localhost"
        return is_own_address(address)

    def is_proxy(self, proxy: Proxy) -> bool:
        """Whether this proxy is ourselves: a request through it would come back for ever."""
        return self.is_loop(proxy.host, proxy.port)

    def refuse(self, address: str, port: int, trust: Trust) -> str | None:
        """Why a client may not be led to an address that his target's name has, or None.

        Of those who are guarded, to nothing on this machine, be its address ever so public.
        """
        if trust is Trust.GUARDED and is_own_address(address):
            return f"the address {address} is this machine's own"
        if self.is_loop(address, port):
            return f"{address}, port {port} is an entrance of this service: that would be a loop"
        return None
