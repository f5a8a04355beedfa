import asyncio
import time
from io import BytesIO
from urllib.parse import urlsplit

import pycurl
import pytest

from fetchpool.farm import ADVERTISEMENT, FAITHFUL, FALSE_ADDRESS, PORTAL_PAGE, Farm, Kind, body_of
from fetchpool.farm.kinds import HANDSHAKE_FAILURE
from tests.fetchpool.farm.curl import (
    CONNECT_FAILED,
    NOT_VERIFIED,
    OK,
    PARTIAL,
    PROXY_FAILED,
    TIMED_OUT,
    fetch,
    get,
    handle,
)

pytestmark = pytest.mark.timeout(30)


# -- kinds that pass pages on ---------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(FAITHFUL))
async def test_a_faithful_kind_passes_a_plain_page_on_unaltered(farm: Farm, kind: Kind) -> None:
    proxy = farm.one(kind)
    direct, through = await get(farm, "/html"), await get(farm, "/html", proxy)
    assert (through.code, through.status, through.body) == (OK, 200, direct.body)
    assert farm.origin.requests[-1].peer == proxy.exit_host
    assert (proxy.connections, proxy.requests) == (1, 1)


TUNNELLING = FAITHFUL - {
    *(Kind.NO_CONNECT, Kind.RESETTING, Kind.SILENT, Kind.TLS_INTERCEPTING),
    *(Kind.BABBLING, Kind.ALERTING, Kind.CLOSING, Kind.PAGING, Kind.ENDLESS_HEAD),
}


@pytest.mark.parametrize(
    "kind", sorted(TUNNELLING | {Kind.TAMPERING, Kind.ALTERING, Kind.TRUNCATING})
)
async def test_a_tunnel_carries_verified_tls(farm: Farm, kind: Kind) -> None:
    proxy = farm.one(kind)
    answer = await get(farm, f"{farm.origin.https_url}/bytes/300000", proxy)
    assert (answer.code, answer.status, answer.body) == (OK, 200, body_of(300_000))
    assert proxy.connects == proxy.requests == 1
    assert farm.origin.requests[-1].peer == proxy.exit_host


async def test_each_proxy_leaves_from_its_own_address_but_other_exit(farm: Farm) -> None:
    good, other = farm.one(Kind.GOOD), farm.one(Kind.OTHER_EXIT)
    assert (await get(farm, "/ip", good)).json == {"origin": good.host}
    assert (await get(farm, "/ip", other)).json == {"origin": other.exit_host}
    assert other.exit_host != other.host


async def test_a_good_proxy_adds_and_drops_nothing_but_what_is_its_own(farm: Farm) -> None:
    sent = ["X-Two: 1", "X-Two: 2", "Connection: X-Hop", "X-Hop: gone", "Keep-Alive: 5", "TE: x"]
    proxy = farm.one(Kind.GOOD)
    await fetch(handle(farm, proxy.url().replace("//", "//me:secret@"), sent), farm.origin.url)
    names = [name for name, _ in farm.origin.requests[-1].headers]
    assert sorted(names) == ["Accept", "Host", "User-Agent", "X-Two", "X-Two"]
    assert proxy.seen[-1].basic_credentials == ("me", "secret")
    assert ("X-Hop", "gone") in proxy.last_headers


async def test_a_transparent_proxy_tells_who_asked(farm: Farm) -> None:
    await get(farm, "/get", farm.one(Kind.TRANSPARENT))
    seen = farm.origin.requests[-1]
    assert (seen.get("X-Forwarded-For"), seen.get("Via")) == ("127.0.0.1", "1.1 farm")


async def test_a_slow_proxy_answers_after_its_delay(farm: Farm) -> None:
    proxy = farm.one(Kind.SLOW)
    began = time.monotonic()
    assert (await get(farm, "/get", proxy)).status == 200
    assert time.monotonic() - began >= proxy.delay


async def test_connections_are_kept_alive_and_counted(farm: Farm) -> None:
    proxy = farm.one(Kind.GOOD)
    curl = handle(farm, proxy.url())
    for path in ("/get", "/stream/3", "/status/404", "/bytes/0"):
        assert (await fetch(curl, farm.origin.url + path)).code == OK
    curl.setopt(pycurl.NOBODY, 1)
    assert (await fetch(curl, f"{farm.origin.url}/bytes/9")).code == OK
    assert (proxy.connections, proxy.requests, proxy.connects) == (1, 5, 0)
    assert proxy.seen[-1].start == f"HEAD {farm.origin.url}/bytes/9 HTTP/1.1"


@pytest.mark.parametrize("size", [0, 1, 65_536, 3_000_000])
@pytest.mark.parametrize("transfer", ["Expect:", "Transfer-Encoding: chunked"])
async def test_bodies_pass_both_ways(farm: Farm, size: int, transfer: str) -> None:
    """The first with a length, the second in chunks and, when big, after 100 Continue."""
    proxy = farm.one(Kind.GOOD)
    sent = body_of(size, seed=1)
    curl = handle(farm, proxy.url(), [transfer, "Content-Type: application/x-thing"])
    curl.setopt(pycurl.POST, 1)
    if transfer == "Expect:":
        curl.setopt(pycurl.POSTFIELDS, sent)
    else:
        curl.setopt(pycurl.READFUNCTION, BytesIO(sent).read)
    answer = await fetch(curl, f"{farm.origin.url}/bytes/{size}")
    assert (answer.code, answer.status) == (OK, 200)
    assert answer.body == body_of(size)
    assert farm.origin.requests[-1].body == sent


async def test_https_in_absolute_form_is_fetched_by_the_proxy(farm: Farm) -> None:
    proxy = farm.one(Kind.GOOD)
    reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
    writer.write(f"GET {farm.origin.https_url}/get HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert b" 200 " in await reader.readline()
    writer.close()
    assert farm.origin.requests[-1].get("Host") == urlsplit(farm.origin.https_url).netloc


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("http://shop.farm.test/ip", 200),
        ("http://localhost/ip", 200),
        ("http://gone.invalid/", 502),
        ("http://192.0.2.1/", 403),
        ("http://[2001:db8::1]/", 403),
        ("http://127.0.0.1:1/", 502),
        ("ftp://farm.test/", 400),
        ("/ip", 400),
    ],
)
async def test_targets_stay_on_this_machine(farm: Farm, target: str, status: int) -> None:
    proxy = farm.one(Kind.GOOD)
    reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
    writer.write(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert int((await reader.readline()).split()[1]) == status
    writer.close()


async def test_a_name_reaches_the_tls_origin_with_its_own_name_verified(farm: Farm) -> None:
    for kind in (Kind.GOOD, Kind.SOCKS4A, Kind.SOCKS5):
        proxy = farm.one(kind)
        scheme = {"socks5": "socks5h"}.get(kind.scheme)
        answer = await fetch(handle(farm, proxy.url(scheme)), "https://shop.farm.test/get")
        assert (answer.code, answer.json["url"]) == (OK, "https://shop.farm.test/get")
        assert proxy.seen[-1].start.startswith("CONNECT shop.farm.test:443 ")


# -- kinds that do not ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "code", "status"),
    [
        (Kind.BAD_GATEWAY, OK, 502),
        (Kind.PORTAL, OK, 200),
        (Kind.ECHO_PORTAL, OK, 200),
        (Kind.BLOCK_PAGE, OK, 200),
        (Kind.GARBAGE, 1, 0),
        (Kind.REFUSING, CONNECT_FAILED, 0),
        (Kind.HANGING, TIMED_OUT, 0),
        (Kind.ENDLESS, TIMED_OUT, 200),
        (Kind.TRUNCATING, PARTIAL, 200),
    ],
)
async def test_a_bad_kind_fails_a_plain_request(
    farm: Farm, kind: Kind, code: int, status: int
) -> None:
    answer = await get(farm, "/html", farm.one(kind), timeout=0.5)
    assert (answer.code, answer.status) == (code, status)
    if kind is Kind.PORTAL:
        assert answer.body == PORTAL_PAGE
    elif kind is Kind.TRUNCATING:
        whole = (await get(farm, "/html")).body
        assert answer.body == whole[: len(whole) // 2]
    elif kind is Kind.ENDLESS:
        assert len(answer.body) > 100_000


async def test_portals_and_block_pages_name_what_was_asked_for(farm: Farm) -> None:
    asked = "http://shop.farm.test/html?q=hens"
    portal = await fetch(handle(farm, farm.one(Kind.ECHO_PORTAL).url()), asked)
    block = await fetch(handle(farm, farm.one(Kind.BLOCK_PAGE).url()), asked)
    for page in (portal, block):
        assert asked.encode() in page.body
    assert b"dst=http%3A%2F%2Fshop.farm.test%2Fhtml%3Fq%3Dhens'" in portal.body
    assert b"SHOP.FARM.TEST:80" in block.body
    assert b"query: q=hens" in block.body
    assert not farm.origin.requests


@pytest.mark.parametrize(
    ("kind", "connect_status"),
    [
        (Kind.BAD_GATEWAY, 502),
        (Kind.NO_CONNECT, 405),
        (Kind.PORTAL, 200),
        (Kind.ECHO_PORTAL, 200),
        (Kind.BLOCK_PAGE, 200),
        (Kind.GARBAGE, 0),
        (Kind.REFUSING, 0),
        (Kind.HANGING, 0),
        (Kind.RESETTING, 200),
        (Kind.SILENT, 200),
        (Kind.TLS_INTERCEPTING, 200),
        (Kind.BABBLING, 200),
        (Kind.ALERTING, 200),
        (Kind.CLOSING, 200),
        (Kind.PAGING, 200),
        (Kind.ENDLESS_HEAD, 200),
        (Kind.ENDLESS, 200),
    ],
)
async def test_a_bad_kind_fails_a_tunnel(farm: Farm, kind: Kind, connect_status: int) -> None:
    answer = await get(farm, f"{farm.origin.https_url}/html", farm.one(kind), timeout=0.5)
    assert (answer.code == OK, answer.connect_status) == (False, connect_status)
    assert not farm.origin.requests


async def test_resetting_resets_and_silent_stays_silent(farm: Farm) -> None:
    for kind in (Kind.RESETTING, Kind.SILENT):
        proxy = farm.one(kind)
        reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
        writer.write(b"CONNECT farm.test:443 HTTP/1.1\r\nHost: farm.test\r\n\r\n")
        assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
        writer.write(b"hello")
        if kind is Kind.RESETTING:
            with pytest.raises(ConnectionResetError):
                await reader.read(1)
        else:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(1), 0.2)
        writer.close()


async def test_an_alert_comes_when_the_client_has_spoken(farm: Farm) -> None:
    proxy = farm.one(Kind.ALERTING)
    reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
    writer.write(b"CONNECT farm.test:443 HTTP/1.1\r\nHost: farm.test\r\n\r\n")
    assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
    writer.write(b"hello")
    assert await reader.read() == HANDSHAKE_FAILURE
    writer.close()


@pytest.mark.parametrize("path", ["/html", "/get", "/stream/3", "/bytes/70000"])
async def test_a_tampering_proxy_alters_every_body_and_keeps_it_readable(
    farm: Farm, path: str
) -> None:
    proxy = farm.one(Kind.TAMPERING)
    curl = handle(farm, proxy.url())
    for _ in range(2):
        answer = await fetch(curl, farm.origin.url + path)
        assert (answer.code, answer.status, answer.body.count(ADVERTISEMENT)) == (OK, 200, 1)
    if path in ("/html", "/bytes/70000"):
        direct = await get(farm, path)
        assert answer.body.replace(ADVERTISEMENT, b"") == direct.body
    assert proxy.connections == 1


async def test_an_altering_proxy_makes_up_addresses_and_keeps_all_else(farm: Farm) -> None:
    proxy = farm.one(Kind.ALTERING)
    answer = await get(farm, "/get?nonce=n-1", proxy)
    assert (answer.status, answer.json["origin"]) == (200, FALSE_ADDRESS.decode())
    assert answer.json["args"] == {"nonce": "n-1"}
    direct, through = await get(farm, "/html"), await get(farm, "/html", proxy)
    assert through.body == direct.body


async def test_who_does_not_verify_hears_the_target_from_a_tls_intercepting_proxy(
    farm: Farm,
) -> None:
    proxy = farm.one(Kind.TLS_INTERCEPTING)
    assert (await get(farm, f"{farm.origin.https_url}/ip", proxy)).code == NOT_VERIFIED
    curl = handle(farm, proxy.url())
    curl.setopt(pycurl.SSL_VERIFYPEER, 0)
    answer = await fetch(curl, f"{farm.origin.https_url}/ip")
    assert (answer.code, answer.json) == (OK, {"origin": proxy.host})


async def test_a_flaky_proxy_drops_every_second_request(farm: Farm) -> None:
    proxy = farm.one(Kind.FLAKY)
    answers = [await get(farm, "/get", proxy) for _ in range(4)]
    assert [answer.code == OK for answer in answers] == [True, False, True, False]


async def test_a_broken_answer_of_the_origin_is_seen_through_a_good_proxy(farm: Farm) -> None:
    proxy = farm.one(Kind.GOOD)
    rows = {"/close": (OK, 502), "/garbage": (OK, 502), "/truncated": (PARTIAL, 200)}
    for path, expected in rows.items():
        answer = await get(farm, path, proxy)
        assert (answer.code, answer.status) == expected, path


# -- credentials ----------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["", "user:wrong@", "right"])
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_auth_lets_in_the_right_credentials_only(farm: Farm, given: str, scheme: str) -> None:
    proxy = farm.one(Kind.AUTH)
    url = proxy.url() if given == "right" else f"http://{given}{proxy.address}"
    origin = farm.origin.https_url if scheme == "https" else farm.origin.url
    answer = await fetch(handle(farm, url), f"{origin}/get")
    seen = answer.connect_status if scheme == "https" else answer.status
    assert seen == (200 if given == "right" else 407)
    assert (b"Proxy-Authenticate: Basic" in answer.head) == (given != "right")
    assert len(farm.origin.requests) == (given == "right")


async def test_a_refused_post_leaves_the_connection_usable(farm: Farm) -> None:
    proxy = farm.one(Kind.AUTH)
    curl = handle(farm, f"http://{proxy.address}", ["Expect:"])
    for _ in range(2):
        curl.setopt(pycurl.POSTFIELDS, body_of(200_000))
        assert (await fetch(curl, f"{farm.origin.url}/post")).status == 407
    assert proxy.connections == 1


async def test_socks5_auth_lets_in_the_right_credentials_only(farm: Farm) -> None:
    proxy = farm.one(Kind.SOCKS5_AUTH)
    assert (await get(farm, "/get", proxy)).status == 200
    for given in ("", "user:wrong@"):
        answer = await fetch(handle(farm, f"socks5://{given}{proxy.address}"), farm.origin.url)
        assert answer.code == PROXY_FAILED
    assert (proxy.connections, proxy.requests) == (3, 1)


async def test_odd_credentials_survive_the_url(farm: Farm) -> None:
    proxy = farm.one(Kind.AUTH)
    proxy.username, proxy.password = "a@b/c", "p:a%s s"
    assert (await get(farm, "/get", proxy)).status == 200


# -- SOCKS ----------------------------------------------------------------------------------


async def test_socks_kinds_refuse_what_they_cannot_do(farm: Farm) -> None:
    rows = [
        (Kind.SOCKS4, "socks4a", "http://farm.test/", PROXY_FAILED),  # takes no names
        (Kind.SOCKS4A, "socks4a", "http://gone.invalid/", PROXY_FAILED),
        (Kind.SOCKS5, "socks5h", "http://gone.invalid/", PROXY_FAILED),
        (Kind.SOCKS5, "socks5", "http://192.0.2.1/", PROXY_FAILED),
        (Kind.SOCKS5, "socks4", "http://127.0.0.1/", PROXY_FAILED),
    ]
    for kind, scheme, target, code in rows:
        answer = await fetch(handle(farm, farm.one(kind).url(scheme)), target)
        assert answer.code == code, (kind, scheme, target)
    assert not farm.origin.requests
