import asyncio
import contextlib
import os
import signal
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError, TimeoutError

from fetchpool.redis.connect import (
    RedisURLError,
    Unreached,
    connect,
    describe,
    find_absence,
    mask_url,
    parse_url,
    socket_url,
)
from tests.redis_server import KINDS, RedisServer, find_binary, unavailable
from tests.serving import calling, serving
from tests.wait import wait_until

SECRET = "s3cr"

VALID = [
    ("redis://localhost", ("localhost", 6379), 0, None, None),
    ("redis://localhost/", ("localhost", 6379), 0, None, None),
    ("redis://127.0.0.1:1/15", ("127.0.0.1", 1), 15, None, None),
    ("redis://127.0.0.1:65535?db=2", ("127.0.0.1", 65535), 2, None, None),
    ("redis://[::1]:6380/1", ("::1", 6380), 1, None, None),
    ("redis://:s3cr@h/0", ("h", 6379), 0, None, "s3cr"),
    ("redis://u:s3cr@h", ("h", 6379), 0, "u", "s3cr"),
    ("redis://u:s%3A%2F%40cr@h", ("h", 6379), 0, "u", "s:/@cr"),
    ("redis://u:s@3cr@h", ("h", 6379), 0, "u", "s@3cr"),
    ("rediss://h:7/3", ("h", 7), 3, None, None),
]


@pytest.mark.parametrize(("url", "address", "db", "username", "password"), VALID)
def test_a_tcp_url_gives_address_database_and_credentials(url, address, db, username, password):
    target = parse_url(url)
    assert (target.addresses, target.db) == ((address,), db)
    assert (target.username, target.password) == (username, password)


def test_a_socket_url_gives_path_database_and_credentials():
    target = parse_url("unix://u:s3cr@/run/a%20b/r.sock?db=4")
    assert (target.path, target.db) == ("/run/a b/r.sock", 4)
    assert (target.username, target.password) == ("u", "s3cr")


@pytest.mark.parametrize("path", ["/run/r.sock", "/a b/ü@?#%20:x/r.sock"])
def test_any_path_survives_its_way_through_a_url(path):
    assert parse_url(socket_url(Path(path))).path == path


def test_a_sentinel_url_gives_all_sentinels_the_service_and_the_database():
    target = parse_url("redis+sentinel://u:s3cr@a:1,[::1]:2,c/mymaster/5")
    assert target.addresses == (("a", 1), ("::1", 2), ("c", 26379))
    assert (target.service, target.db, target.password) == ("mymaster", 5, "s3cr")


REFUSED = [
    ("", "must have the form"),
    ("localhost:6379", "must have the form"),
    ("http://localhost", "must have the form"),
    ("REDIS://localhost", "must have the form"),
    ("redis+cluster://h:1", "not supported yet"),
    ("redis://", "host is missing"),
    ("redis:///0", "host is missing"),
    ("redis://:6379", "host is missing"),
    ("redis://u:s3cr@/0", "host is missing"),
    ("redis://h:0", "1 to 65535"),
    ("redis://h:65536", "1 to 65535"),
    ("redis://h:six", "1 to 65535"),
    ("redis://[::1", "cannot be read"),
    ("redis://h/zero", "must be a number"),
    ("redis://h/-1", "must be a number"),
    ("redis://h/1/2", "must be a number"),
    ("redis://h/²", "must be a number"),
    ("redis://h?db=", "must be a number"),
    ("redis://h/1?db=1", "given twice"),
    ("redis://a,b/0", "several hosts"),
    ("redis://s3cr@h", "no password"),
    ("redis://:s3cr/x@h", "percent-encoded"),
    ("redis://:s3cr#x@h", "percent-encoded"),
    ("redis://:s3cr?x@h", "percent-encoded"),
    ("redis://h?socket_timeout=1", "unknown option 'socket_timeout'"),
    ("redis://h?password=s3cr", "unknown option 'password'"),
    ("redis://h?ssl_cert_reqs=none", "unknown option 'ssl_cert_reqs'"),
    ("rediss://h?retry_on_timeout=1", "unknown option"),
    ("unix://run/r.sock", "absolute"),
    ("unix:///r.sock?db=x", "must be a number"),
    ("redis+sentinel://a:1", "service"),
    ("redis+sentinel://a:1//0", "service"),
    ("redis+sentinel://a:1,/m", "host is missing"),
    ("redis+sentinel://a:1/m/x", "must be a number"),
]


@pytest.mark.parametrize(("url", "reason"), REFUSED)
def test_a_url_that_cannot_be_meant_is_refused_with_the_reason_and_without_the_password(
    url, reason
):
    with pytest.raises(RedisURLError, match=reason) as caught:
        connect(url)
    assert isinstance(caught.value, ValueError)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


MASKED = [
    ("redis://h:1/0", "redis://h:1/0"),
    ("redis://u:s3cr@h", "redis://u:***@h"),
    ("redis://:s3cr@h", "redis://:***@h"),
    ("redis://s3cr@h", "redis://***@h"),
    ("redis://u:s3cr@x:s3cr/@h", "redis://u:***@h"),
    ("redis://u:s3cr://x@h", "redis://u:***@h"),
    ("redis+sentinel://u:s3cr@a,b/m", "redis+sentinel://u:***@a,b/m"),
    ("unix:///a:b@c.sock?db=1", "unix:///a:b@c.sock?db=1"),
    ("unix://:s3cr@/r.sock?db=1&password=s3cr", "unix://:***@/r.sock?db=1&password=***"),
    ("u:s3cr@h", "u:***@h"),
    ("", ""),
]


@pytest.mark.parametrize(("url", "masked"), MASKED)
def test_a_logged_url_shows_no_password(url, masked):
    assert mask_url(url) == masked


@pytest.mark.parametrize("blocking", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tcp", [False, True])
async def test_a_client_speaks_bytes_with_the_old_and_the_new_server(tmp_path, kind, tcp, blocking):
    with RedisServer.start(tmp_path, find_binary(kind), tcp=tcp) as server:
        async with connect(server.url, blocking=blocking) as client:
            await client.zadd("z", {"a": 1})
            assert await client.zrange("z", 0, -1, withscores=True) == [(b"a", 1.0)]


async def test_database_and_password_reach_the_server(tmp_path):
    with RedisServer.start(tmp_path, None, "--requirepass", SECRET) as server:
        path = server.url.removeprefix("unix://")
        async with connect(f"unix://:{SECRET}@{path}?db=3") as client:
            await client.set("k", "v")
            assert "db3" in await client.info("keyspace")


@contextlib.asynccontextmanager
async def losing_relay(server: RedisServer, command: bytes, losses: int) -> AsyncIterator[int]:
    """A port in front of a server that closes instead of passing on the reply to a command."""

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal losses
        async with calling(path=str(server.address)) as (back_reader, back_writer):
            while request := await reader.read(65536):
                back_writer.write(request)
                reply = await back_reader.read(65536)
                if command in request and losses:
                    losses -= 1
                    return
                writer.write(reply)

    async with serving(relay) as port:
        yield port


@pytest.mark.parametrize("blocking", [False, True])
async def test_a_lost_reply_is_an_error_and_the_item_is_stored_once(tmp_path, blocking):
    with RedisServer.start(tmp_path) as server:
        async with (
            losing_relay(server, b"RPUSH", losses=2) as port,
            connect(f"redis://127.0.0.1:{port}", blocking=blocking) as client,
        ):
            with pytest.raises(ConnectionError):
                await client.rpush("k", "item")
        async with connect(server.url) as client:
            assert await client.llen("k") == 1


async def test_a_lost_reply_to_a_transaction_runs_it_once(tmp_path):
    with RedisServer.start(tmp_path) as server:
        async with (
            losing_relay(server, b"RPUSH", losses=2) as port,
            connect(f"redis://127.0.0.1:{port}") as client,
        ):
            transaction = client.pipeline()
            transaction.rpush("k", "item")
            with pytest.raises(ConnectionError):
                await transaction.execute()
        async with connect(server.url) as client:
            assert await client.llen("k") == 1


async def test_the_librarys_own_rule_would_store_it_three_times(tmp_path):
    """When this fails, redis-py has changed and the rule in `connect` may have lost its reason."""
    with RedisServer.start(tmp_path) as server:
        async with (
            losing_relay(server, b"RPUSH", losses=2) as port,
            Redis(host="127.0.0.1", port=port) as client,
        ):
            assert await client.rpush("k", "item") == 3


async def test_the_next_command_after_a_server_restart_works(tmp_path):
    server = RedisServer.start(tmp_path)
    async with connect(server.url) as client:
        await client.ping()
        server.kill()
        with pytest.raises(ConnectionError):
            await client.ping()
        with RedisServer.start(tmp_path):
            assert await client.ping()


async def test_only_blocking_clients_wait_longer_than_the_reply_timeout(tmp_path, monkeypatch):
    monkeypatch.setattr("fetchpool.redis.connect.REPLY_TIMEOUT", 0.1)
    with RedisServer.start(tmp_path) as server:
        async with connect(server.url) as client, connect(server.url, blocking=True) as waiting:

            async def is_connected() -> bool:  # the time-out is for these replies, too
                try:
                    return await client.ping()
                except (ConnectionError, TimeoutError):
                    return False

            await wait_until(is_connected)
            with pytest.raises(TimeoutError):
                await client.blpop(["nothing"], timeout=0)
            assert await waiting.blpop(["nothing"], timeout=0.3) is None


async def test_more_commands_at_once_than_connections_wait_for_their_turn(tmp_path, monkeypatch):
    monkeypatch.setattr("fetchpool.redis.connect.MAX_CONNECTIONS", 2)
    with RedisServer.start(tmp_path) as server:
        async with connect(server.url) as client:
            answers = await asyncio.gather(*(client.incr("n") for _ in range(50)))
            assert sorted(answers) == list(range(1, 51))
            assert (await client.info("clients"))["connected_clients"] == 2


async def test_a_sentinel_url_finds_the_primary_by_its_name(tmp_path):
    with RedisServer.start(tmp_path, None, tcp=True) as server:
        settings = tmp_path / "sentinel.conf"
        settings.write_text(f"sentinel monitor mymaster 127.0.0.1 {server.address} 1\n")
        home = tmp_path / "s"
        home.mkdir()
        with RedisServer.start(home, None, str(settings), "--sentinel", tcp=True) as sentinel:
            dead, alive = "127.0.0.1:1", f"127.0.0.1:{sentinel.address}"
            async with connect(f"redis+sentinel://{dead},{alive}/mymaster/2") as client:
                await client.set("k", "v")
                assert "db2" in await client.info("keyspace")
                assert (await client.info("server"))["tcp_port"] == server.address


@pytest.fixture
def certificate(tmp_path):
    """A certificate for 127.0.0.1, signed by itself; its key is in key.pem beside it."""
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=localhost", "-keyout", "key.pem"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-out", "certificate.pem"]
    try:
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=20)
    except FileNotFoundError:
        unavailable("no openssl command to make a certificate with")
    return tmp_path / "certificate.pem"


async def test_tls_is_verified_against_the_authorities_given(tmp_path, certificate):
    key = certificate.with_name("key.pem")
    tls = ["--tls-cert-file", str(certificate), "--tls-key-file", str(key)]
    tls += ["--tls-ca-cert-file", str(certificate), "--tls-auth-clients", "no"]
    try:
        server = RedisServer.start(tmp_path, None, *tls, "--tls-port", "0")
    except AssertionError:
        unavailable("the newest redis-server here is built without TLS")
    with server:
        async with connect(server.url) as plain:
            port = await _first_free_tls_port(plain)
        url = f"rediss://127.0.0.1:{port}"
        async with connect(f"{url}?ssl_ca_certs={certificate}") as client:
            assert await client.ping()
        async with connect(url) as stranger:
            with pytest.raises((ConnectionError, ssl.SSLError)):
                await stranger.ping()


async def _first_free_tls_port(client: Redis) -> int:
    listener = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = int(listener.sockets[0].getsockname()[1])
    listener.close()
    await listener.wait_closed()
    await client.config_set("tls-port", port)
    return port


async def test_a_silent_server_is_a_timeout_and_not_a_hang(tmp_path, monkeypatch):
    monkeypatch.setattr("fetchpool.redis.connect.REPLY_TIMEOUT", 0.1)
    with RedisServer.start(tmp_path) as server:
        async with connect(server.url) as client:
            await client.ping()
            server._process.send_signal(signal.SIGSTOP)
            try:
                with pytest.raises(TimeoutError):
                    await client.ping()
            finally:
                server._process.send_signal(signal.SIGCONT)


ABSENT = [
    ("redis://u:s3cr@127.0.0.1:1/0", "redis://u:***@127.0.0.1:1/0", "Connection refused"),
    ("unix:///nowhere/r.sock", "unix:///nowhere/r.sock", "No such file or directory"),
    ("redis://nobody.invalid", "redis://nobody.invalid", "Name or service not known"),
]


@pytest.mark.parametrize("blocking", [False, True])
@pytest.mark.parametrize(("url", "shown", "reason"), ABSENT)
async def test_one_that_cannot_be_reached_is_named_with_the_reason(url, shown, reason, blocking):
    async with connect(url, blocking=blocking) as client:
        with pytest.raises(Unreached) as raised:
            await client.ping()
    assert str(raised.value) == f"{shown} cannot be reached: {reason}"
    assert raised.value.url == url
    assert await find_absence(url) == str(raised.value)


async def test_one_that_does_not_let_us_in_is_absent(tmp_path):
    with RedisServer.start(tmp_path, None, "--requirepass", SECRET) as server:
        path = server.url.removeprefix("unix://")
        wrong, none = await find_absence(f"unix://:wrong@{path}"), await find_absence(server.url)
        assert wrong is not None and none is not None
        assert wrong.startswith(f"unix://:***@{path} cannot be reached: invalid username-password")
        assert none.startswith(f"{server.url} cannot be reached: it wants a password")
        assert await find_absence(f"unix://:{SECRET}@{path}") is None


async def test_one_that_hangs_has_no_more_time_than_one_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setattr("fetchpool.redis.connect._WaitingPool._limit", 0.05)
    with RedisServer.start(tmp_path) as server:
        os.kill(server.pid, signal.SIGSTOP)
        try:
            absence = await find_absence(server.url)
        finally:
            os.kill(server.pid, signal.SIGCONT)
    assert absence == f"{server.url} cannot be reached: no answer in time"


async def test_one_that_goes_and_comes_back_is_said_to(tmp_path, caplog):
    caplog.set_level("INFO", "fetchpool.redis.presence")
    with RedisServer.start(tmp_path) as server:
        async with connect(server.url) as client:
            await client.ping()
            server.kill()
            for _ in range(3):
                with pytest.raises(ConnectionError):
                    await client.ping()
            with RedisServer.start(tmp_path):
                await client.ping()
            await client.connection_pool.disconnect()
    gone, back = caplog.messages
    assert gone.startswith(f"Redis at {server.url} is gone: ")
    assert back == "Redis is back"


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("Error 111 connecting to localhost:1. Connection refused.", "Connection refused"),
        (
            "Error -2 connecting to nowhere:1. Name or service not known.",
            "Name or service not known",
        ),
        ("Error UNKNOWN while writing to socket. Connection lost.", "Connection lost"),
        ("Error 32 while writing to socket. Broken pipe.", "Broken pipe"),
        ("Connection closed by server.", "Connection closed by server"),
        ("", "ConnectionError"),
    ],
)
def test_the_reason_is_told_without_what_the_client_puts_before_it(said: str, words: str) -> None:
    assert describe(ConnectionError(said)) == words
