"""A small web on loopback for crawls: many hosts on one port, with all that crawls meet.

    python -m tests.web --hosts 500 --pages 20 --log FILE     prints its port, serves until its
                                                              standard input ends

Hosts are ``h0.localhost``, ``h1.localhost`` ...: c-ares and browsers take such names for loopback
(RFC 6761). What a host has follows from its number alone, so that a test knows what is right. Each
request becomes a line of the log: time, host, path, status.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Iterator
from typing import Final, NamedTuple, TextIO

import uvloop

_FILLER: Final = " Words that stand between the links of a page." * 5


class Web(NamedTuple):
    """What there is; `port` becomes part of every URL."""

    hosts: int
    pages: int  # of each host
    port: int
    plain: bool = False  # pages and links only
    by_address: bool = False  # hosts are 127.1.0.1, 127.1.0.2 ...: for those that know no others

    def host(self, number: int) -> str:
        return f"{self.name(number)}:{self.port}"

    def name(self, number: int) -> str:
        return address_of(number) if self.by_address else f"h{number}.localhost"

    def page(self, host: int, number: int) -> str:
        return f"http://{self.host(host)}/p{number}" if number else f"http://{self.host(host)}/"

    @property
    def starts(self) -> list[str]:
        return [self.page(0, 0)]

    def all_pages(self) -> Iterator[str]:
        """The URLs that a crawl with scope "any" has to write, each once."""
        for host in range(self.hosts):
            for number in range(self.pages):
                if not self.is_private(host, number):
                    yield self.page(host, number)
            if not self.plain:
                yield f"http://{self.host(host)}/once"

    def is_private(self, host: int, number: int) -> bool:
        """Whether robots.txt forbids it: of every fifth host the last page."""
        return not self.plain and host % 5 == 1 and number == self.pages - 1 > 0

    def robots(self, host: int) -> bytes | None:
        """None is 404."""
        if self.plain or host % 5 in (0, 2):
            return None
        if host % 5 == 1:
            return b"User-agent: *\nDisallow: /p%d$\n" % (self.pages - 1)
        if host % 5 == 3:
            return b"User-agent: *\nCrawl-delay: 0.3\n"
        return b"User-agent: somebody\nDisallow: /\n"

    def links(self, host: int, number: int) -> Iterator[str]:
        """In the forms that pages have them."""
        for child in (2 * number + 1, 2 * number + 2):
            if child < self.pages:
                is_simple = child % 2 or self.plain
                yield f"/p{child}" if is_simple else f"http://{self.host(host)}/x/../p{child}#part"
        yield "/"
        yield f"/p{number // 2}" if number // 2 else "./"
        for neighbour in (2 * host + 1, 2 * host + 2):
            if neighbour < self.hosts:
                yield self.page(neighbour, 0)
        if self.plain:
            return
        yield "/moved"
        yield "/once"
        yield "/loop/a/a/a/a/a" if number else "/loop/a"
        yield "mailto:nobody@localhost"
        yield "/nowhere"

    def answer(self, host: int, path: str, failed: set[str]) -> tuple[int, bytes, bytes]:
        """Status, further header lines and body."""
        if path == "/robots.txt":
            robots = self.robots(host)
            return (404, b"", b"none") if robots is None else (200, _PLAIN, robots)
        if path == "/" or (path[:2] == "/p" and path[2:].isdecimal()):
            number = int(path[2:] or 0)
            if number < self.pages:
                links = "".join(f'<a href="{one}">a link</a>' for one in self.links(host, number))
                title = f"<title>page {number} of host {host}</title>"
                return 200, _HTML, f"<html>{title}<p>{_FILLER}</p>{links}</html>".encode()
        if path == "/moved":
            return 302, b"Location: /once\r\n", b""
        if path == "/once":
            if host % 7 == 3 and path not in failed:
                failed.add(path)
                return 500, _HTML, b"once"
            return 200, _HTML, b"<title>once</title>" + b"o" * (host % 50)
        if path.startswith("/loop/"):
            return 200, _HTML, f'<a href="{path}/a">more</a>'.encode()
        return 404, _HTML, b"not here"


def address_of(host: int) -> str:
    return f"127.1.{host // 250}.{host % 250 + 1}"


def number_of(name: str) -> int | None:
    """Of a host, None if there is none of that name."""
    if name.startswith("127.1."):
        third, fourth = name.split(".")[2:]
        return int(third) * 250 + int(fourth) - 1
    number = name[1:].partition(".")[0]
    return int(number) if name.endswith(".localhost") and number.isdecimal() else None


_HTML: Final = b"Content-Type: text/html; charset=utf-8\r\n"
_PLAIN: Final = b"Content-Type: text/plain\r\n"
_REASONS: Final = {200: b"OK", 302: b"Found", 404: b"Not Found", 500: b"Internal Server Error"}


class _Server(asyncio.Protocol):
    def __init__(self, web: Web, log: TextIO | None, failed: dict[str, set[str]]) -> None:
        self._web = web
        self._log = log
        self._failed = failed
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            head, self._data = self._data[:end], self._data[end + 4 :]
            self._answer(head)

    def _answer(self, head: bytes) -> None:
        at = time.time()
        path = head.split(b" ", 2)[1].decode("latin-1")
        start = head.lower().find(b"\nhost:") + 6
        place = head[start:].partition(b"\r\n")[0].strip().decode("latin-1")
        name = place.partition(":")[0]
        number = number_of(name)
        if number is not None:
            failed = self._failed.setdefault(name, set())
            status, lines, body = self._web.answer(number, path, failed)
        else:
            status, lines, body = 404, _HTML, b"no such host"
        reason = _REASONS[status]
        length = b"Content-Length: %d\r\n\r\n" % len(body)
        answer = b"HTTP/1.1 %d %s\r\n%b%b%b" % (status, reason, lines, length, body)
        self._transport.write(answer)  # type: ignore[attr-defined]
        if self._log is not None:
            self._log.write(f"{at:.6f} {name} {path} {status}\n")


class Seen(NamedTuple):
    """A line of the log."""

    at: float
    host: str
    path: str
    status: int


def read_log(text: str) -> list[Seen]:
    """Of whole lines."""
    seen = []
    for line in text.splitlines():
        at, host, path, status = line.split(" ")
        seen.append(Seen(float(at), host, path, int(status)))
    return seen


async def _serve(arguments: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    log = open(arguments.log, "a", buffering=1) if arguments.log else None  # noqa: SIM115, ASYNC230
    failed: dict[str, set[str]] = {}
    by_address = arguments.by_address
    web = Web(arguments.hosts, arguments.pages, arguments.port, arguments.plain, by_address)

    def protocol() -> _Server:
        return _Server(web, log, failed)

    first, *others = map(address_of, range(web.hosts)) if by_address else ["127.0.0.1"]
    server = await loop.create_server(protocol, first, arguments.port, backlog=2048)
    web = web._replace(port=server.sockets[0].getsockname()[1])
    for address in others:
        await loop.create_server(protocol, address, web.port, backlog=128)
    sys.stdout.write(f"{web.port}\n")
    sys.stdout.flush()
    await loop.run_in_executor(None, sys.stdin.read)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--hosts", type=int, default=50)
    parser.add_argument("--pages", type=int, default=20)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--by-address", action="store_true")
    parser.add_argument("--log", default="")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()
