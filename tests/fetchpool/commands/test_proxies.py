import asyncio
import csv
import io
import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from fetcher.errors import TaskError
from fetcher.proxy import parse_proxy
from fetcher.settings import Redis as RedisSettings
from fetchpool.commands import proxies as commands
from fetchpool.commands.cli.proxies import FORMATS
from fetchpool.commands.proxies import Proxies, build_filters, open_proxies
from fetchpool.config.settings import Settings
from fetchpool.farm import Farm
from fetchpool.farm import Kind as FarmKind
from fetchpool.files.text import read_text
from fetchpool.redis.connect import connect
from pool.model import Candidate, Checked, Kind, Record
from pool.settings import Check, Pool, Site
from pool.snapshot.filters import Filters
from pool.store import Store
from tests.fetchpool.command import run
from tests.redis_server import RedisServer
from tests.wait import wait_until

pytestmark = pytest.mark.timeout(60)

KEY = "proxies:universal"
ANY = Filters()
Printed = pytest.CaptureFixture[str]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer.start(tmp_path) as started:
        yield started


@pytest_asyncio.fixture
async def redis(server: RedisServer) -> AsyncIterator[Redis]:
    client = connect(server.url)
    yield client
    await client.aclose()


def settings(server: RedisServer, **pool: Any) -> Settings:
    return Settings(redis=RedisSettings(url=server.url), pool=Pool(**pool))


async def fill(redis: Redis, *members: str, kind: Kind | None = None, **known: Any) -> None:
    store = Store(redis, Pool())
    await store.add(Candidate(parse_proxy(one), Record(**known)) for one in members)
    if kind is not None:
        checks = await store.claim(100, 60.0)
        await store.settle(
            Checked(one, kind, Record(**known, last=kind, latency=0.25), 60.0) for one in checks
        )


async def listed(proxies: Proxies, form: str, filters: Filters = ANY) -> bool:
    return await commands.show(proxies, filters, site="universal", limit=None, form=form)


# -- list and export -----------------------------------------------------------------------------


async def test_the_list_shows_the_best_first_and_no_credentials(
    server: RedisServer, redis: Redis, capsys: Printed
) -> None:
    await fill(redis, "user:secret@192.0.2.1:80", kind=Kind.PASSED, country="DE")
    await fill(redis, "socks5://192.0.2.2:1080")
    async with open_proxies(settings(server)) as proxies:
        for form in FORMATS:
            assert await listed(proxies, form)
            out = capsys.readouterr().out
            assert "secret" not in out
            assert out.index("192.0.2.1") < out.index("192.0.2.2")
        await listed(proxies, "text", Filters(schemes=frozenset({"socks5"})))
        _, row, total = capsys.readouterr().out.splitlines()
        assert row.split() == ["socks5://192.0.2.2:1080", "10", *"--------"]
        assert total.startswith("1 of 2 proxies shown; 1 checked, 1 good")
        await listed(proxies, "json", Filters(countries=frozenset({"DE"})))
        [one] = json.loads(capsys.readouterr().out)
        assert (one["score"], one["country"], one["latency"]) == (100, "DE", 0.25)
        await listed(proxies, "csv")
        rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
        assert [row["host"] for row in rows] == ["192.0.2.1", "192.0.2.2"]


async def test_an_empty_pool_says_what_fills_it(server: RedisServer, capsys: Printed) -> None:
    async with open_proxies(settings(server)) as proxies:
        for form, said in (("text", "the pool is empty: "), ("json", "[]"), ("csv", "id,proxy,")):
            assert await listed(proxies, form)
            assert capsys.readouterr().out.startswith(said)


@pytest.mark.parametrize("form", FORMATS)
async def test_an_export_of_nothing_says_why(
    server: RedisServer, redis: Redis, capsys: Printed, form: str
) -> None:
    async def said(filters: Filters = ANY) -> str:
        async with open_proxies(settings(server)) as proxies:
            assert await commands.export(proxies, filters, site="universal", limit=None, form=form)
        return capsys.readouterr().err

    assert (await said()).startswith("fetchpool: the pool is empty: ")
    await fill(redis, "8.8.8.8:80")
    assert await said() == ""
    assert (await said(Filters(connect=True))).startswith("fetchpool: no proxy is as these options")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
async def test_a_list_may_come_from_any_system(
    server: RedisServer, redis: Redis, capsys: Printed, encoding: str
) -> None:
    text = "# é\r\n8.8.8.8:80\r\nuser:pass@8.8.4.4:8081\r\n"
    async with open_proxies(settings(server)) as proxies:
        assert await commands.add(proxies, read_text(io.BytesIO(text.encode(encoding))))
    assert capsys.readouterr().out == "2 added, 0 known\n"
    async with open_proxies(settings(server)) as proxies:
        await commands.export(proxies, ANY, site="universal", limit=None, form="text")
    assert set(capsys.readouterr().out.split()) == {"8.8.8.8:80", "user:pass@8.8.4.4:8081"}


@pytest.mark.parametrize("form", FORMATS)
async def test_what_was_exported_is_imported_as_it_was(
    server: RedisServer, redis: Redis, capsys: Printed, form: str
) -> None:
    members = ["8.8.4.4:80", "socks5://8.8.8.8:1080", "user:p%40s@8.8.8.8:80"]
    members += ["socks4a://gw.example.com:1080", "socks5h://u:p@8.8.8.8:1080"]
    members += ["https://8.8.8.8:443", "https://u:p%20s@gw.example.com:443"]
    await fill(redis, *members, country="DE")
    async with open_proxies(settings(server)) as proxies:
        await commands.export(proxies, ANY, site="universal", limit=None, form=form)
    out = capsys.readouterr().out
    await redis.flushall()
    async with open_proxies(settings(server)) as proxies:
        assert await commands.add(proxies, out.encode(), "import")
        await proxies.view.read()
        assert proxies.snapshot.members() == set(members)
        if form != "text":
            assert {one.record.country for one in proxies.snapshot.every.every.entries} == {"DE"}
    assert capsys.readouterr().out == f"{len(members)} added, 0 known\n"


async def test_lines_are_as_usual_where_nothing_has_to_be_told_apart(
    server: RedisServer, redis: Redis, capsys: Printed
) -> None:
    await fill(redis, "8.8.8.8:80", "https://8.8.8.8:443")
    async with open_proxies(settings(server)) as proxies:
        http = Filters(schemes=frozenset({"http"}))
        await commands.export(proxies, http, site="universal", limit=None, form="text")
        assert capsys.readouterr().out == "8.8.8.8:80\n"
        await commands.export(proxies, ANY, site="universal", limit=None, form="text")
        lines = ["# https:// is TLS to the proxy", "8.8.8.8:80", "https://8.8.8.8:443"]
        assert capsys.readouterr().out.splitlines() == lines


def test_options_are_filters() -> None:
    given = {"scheme": "socks5", "connect": True, "country": "de", "max_latency": "0.5"}
    expected = Filters(
        schemes=frozenset({"socks5"}),
        connect=True,
        countries=frozenset({"DE"}),
        max_latency=0.5,
    )
    assert build_filters({**given, "anonymity": None}) == expected
    assert build_filters({"connect": False, "alive": False, "scheme": None}) == ANY
    assert build_filters({"alive": True}) == Filters(alive=True)
    with pytest.raises(TaskError, match="--max-latency: expected seconds"):
        build_filters({"max_latency": "fast"})


async def test_an_unknown_site_is_named(server: RedisServer) -> None:
    async with open_proxies(settings(server)) as proxies:
        with pytest.raises(TaskError, match="--site: expected one of universal, got 'x'"):
            await commands.show(proxies, ANY, site="x", limit=None, form="text")


# -- add, import, remove -------------------------------------------------------------------------


async def test_who_is_refused_is_told_why(
    server: RedisServer, redis: Redis, capsys: Printed
) -> None:
    async with open_proxies(settings(server)) as proxies:
        lines = b"8.8.8.8:80\nu:secret@10.0.0.1:80\nnonsense\n"
        assert await commands.add(proxies, lines)
        said = capsys.readouterr()
        assert said.out == "1 added, 0 known, 2 refused\n"
        assert sorted(said.err.splitlines()) == [
            "refused: http://10.0.0.1:80: the address 10.0.0.1 is not public; only"
            " pool.allow_private: true lets such in",
            "refused: line 3: it names no port: write host:port",
        ]
        assert await commands.add(proxies, lines)
        assert capsys.readouterr().out == "0 added, 1 known, 2 refused\n"
        assert not await commands.add(proxies, b"nonsense")
        capsys.readouterr()
        for empty in (b"", b"\n# a comment\n", b"[]"):
            assert not await commands.add(proxies, empty)
            assert capsys.readouterr() == (
                "0 added, 0 known\n",
                "fetchpool: nothing that looks like a proxy is in it\n",
            )
        assert not await commands.add(proxies, b'[{"host": "8.8.8.8", "po')
        said = capsys.readouterr()
        assert said.out == "0 added, 0 known, 1 refused\n"
        assert said.err.startswith("refused: the whole: it begins like JSON, but cannot be read")
        with pytest.raises(TaskError, match="CSV"):
            await commands.add(proxies, b"ip,port\n" + b"8" * 200_000)


async def test_what_is_in_when_an_import_is_interrupted_stays(
    server: RedisServer, redis: Redis, capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fetchpool.commands.proxies.BATCH", 10)
    text = "\n".join(f"8.8.8.8:{port}" for port in range(1, 5001)).encode() + b"\nnonsense"
    async with open_proxies(settings(server)) as proxies:
        task = asyncio.create_task(commands.add(proxies, text))

        async def is_begun() -> bool:
            return bool(await redis.zcard(KEY))

        await wait_until(is_begun)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    said = capsys.readouterr()
    assert said.out == ""
    assert re.search(
        r"^fetchpool: interrupted: \d{1,3}0 added, 0 known, 1 refused$", said.err, re.M
    )


async def test_a_full_pool_says_so(server: RedisServer, capsys: Printed) -> None:
    async with open_proxies(settings(server, max_size=1)) as proxies:
        assert await commands.add(proxies, b"8.8.8.8:80\n8.8.8.8:81")
    assert (
        capsys.readouterr().out
        == "1 added, 0 known, 1 left out, as the pool is full (pool.max_size)\n"
    )


async def test_it_is_said_that_https_in_a_text_is_no_tls_to_the_proxy(
    server: RedisServer, capsys: Printed
) -> None:
    async with open_proxies(settings(server)) as proxies:
        assert await commands.add(proxies, b"https://8.8.8.8:443")
        printed = capsys.readouterr()
        assert printed.out == "1 added, 0 known\n"
        assert printed.err.startswith(
            "1 written as https://... taken as HTTP proxies that pass https on"
        )
        assert await commands.add(proxies, b'["https://8.8.4.4:443"]')
        assert capsys.readouterr().err == ""


async def test_other_pools_are_taken_over_from_their_redis(
    server: RedisServer, redis: Redis, capsys: Printed
) -> None:
    value = {"proxy": "8.8.8.8:80", "https": True, "region": "US", "source": "docip"}
    await redis.hset("use_proxy", "8.8.8.8:80", json.dumps(value))
    await redis.hset("use_proxy", "8.8.4.4:80", "no JSON")
    await redis.hset("use_proxy", "1.2.3.4:80:80", "{}")
    await redis.zadd("old", {"8.8.8.8:81": 100, "10.0.0.1:80": 3})
    async with open_proxies(settings(server)) as proxies:
        assert await commands.take_over(proxies, server.url, None)
        assert capsys.readouterr().out == "2 added, 0 known, 1 refused\n"
        assert await commands.take_over(proxies, server.url, "old")
        assert capsys.readouterr().out == "1 added, 0 known, 1 refused\n"
        assert not await commands.take_over(proxies, server.url, "nothing")
        assert (
            "that Redis has no sorted set or hash named nothing (--key" in capsys.readouterr().err
        )
        await proxies.view.read()
        assert proxies.snapshot.members() == {"8.8.8.8:80", "8.8.4.4:80", "8.8.8.8:81"}
        us = proxies.snapshot.get("8.8.8.8:80")
        assert us is not None
        assert (us.score, us.record.country, us.record.source) == (10, "US", "docip")


async def test_removed_ones_are_gone_and_unknown_ones_are_named(
    server: RedisServer, redis: Redis, capsys: Printed
) -> None:
    await fill(redis, "192.0.2.1:80", "user:a@192.0.2.1:80", "192.0.2.2:80", "u:b@192.0.2.3:80")
    async with open_proxies(settings(server)) as proxies:
        [one] = proxies.find("u:b@192.0.2.3:80")
        assert await commands.remove(proxies, ["192.0.2.1:80", one.id])
        assert capsys.readouterr().out == "3 removed\n"
        assert not await commands.remove(proxies, ["192.0.2.2:80", "u:secret@192.0.2.9:80"])
        said = capsys.readouterr()
        assert (said.out, said.err) == (
            "1 removed\n",
            "fetchpool: 192.0.2.9:80 is not in the pool\n",
        )
    assert await redis.exists(KEY) == 0


async def test_a_host_without_a_port_names_no_proxy(server: RedisServer, redis: Redis) -> None:
    await fill(redis, "192.0.2.1:8080")
    async with open_proxies(settings(server)) as proxies:
        with pytest.raises(TaskError, match=r"192\.0\.2\.1 names no port: write host:port, or"):
            await commands.remove(proxies, ["192.0.2.1"])
    assert await redis.zcard(KEY) == 1


async def test_what_others_spell_in_their_own_way_is_removed_as_it_is_shown(
    server: RedisServer, redis: Redis, capsys: Printed
) -> None:
    await redis.zadd(KEY, {"user:p$ss!@192.0.2.1:80": 100})
    async with open_proxies(settings(server)) as proxies:
        assert await commands.remove(proxies, ["user:p$ss!@192.0.2.1:80"])
    assert capsys.readouterr().out == "1 removed\n"


# -- check ---------------------------------------------------------------------------------------


async def test_checks_print_and_enter_their_verdicts(
    server: RedisServer, redis: Redis, capsys: Printed
) -> None:
    kinds = {FarmKind.GOOD: 1, FarmKind.SOCKS5: 1, FarmKind.REFUSING: 1, FarmKind.BAD_GATEWAY: 1}
    async with Farm(kinds) as farm:
        site = Site(url=[f"{farm.origin.url}/html"], body="Chickens")
        times = Check(timeout=3.0, cycle=3600.0)
        wanted = settings(server, allow_private=True, sites={"universal": site}, check=times)
        urls = {proxy.kind: parse_proxy(proxy.url()) for proxy in farm.proxies}
        await fill(redis, *(proxy.member for proxy in urls.values()))
        async with open_proxies(wanted) as proxies:
            good = urls[FarmKind.GOOD]
            assert await commands.check(proxies, [good.authority], "universal")
            out = capsys.readouterr().out
            assert out.split() == [good.url, "passed", *["1", "of", "1", "passed"]]
            assert await redis.zscore(KEY, good.member) == 100
            bad = urls[FarmKind.REFUSING]
            assert not await commands.check(proxies, [bad.authority], "universal")
            assert capsys.readouterr().out.split()[1] == "refused"
            assert await redis.zscore(KEY, bad.member) == 9
            assert not await commands.check(proxies, [good.authority, "u:p@1.1.1.1:1"], "universal")
            assert "fetchpool: 1.1.1.1:1 is not in the pool\n" in capsys.readouterr().err
            assert await commands.check(proxies, [], "universal")
            due = capsys.readouterr().out
            assert due.endswith("1 of 2 passed\n")
            assert urls[FarmKind.SOCKS5].url in due
            assert not await commands.check(proxies, [], "universal")


async def test_the_verdicts_until_ctrl_c_count_and_the_others_are_due(
    server: RedisServer, redis: Redis, capsys: Printed
) -> None:
    async with Farm({FarmKind.GOOD: 1, FarmKind.HANGING: 2}) as farm:
        site = Site(url=[f"{farm.origin.url}/html"], body="Chickens")
        times = Check(timeout=60.0, cycle=3600.0)
        wanted = settings(server, allow_private=True, sites={"universal": site}, check=times)
        good, *hanging = (parse_proxy(proxy.url()) for proxy in farm.proxies)
        await fill(redis, *(one.member for one in (good, *hanging)))
        said = ["", ""]

        async def is_told() -> bool:
            for place, text in enumerate(capsys.readouterr()):
                said[place] += text
            return "passed" in said[0]

        async with open_proxies(wanted) as proxies:
            task = asyncio.create_task(commands.check(proxies, [], "universal"))
            await wait_until(is_told)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await is_told()
            assert said[0].split() == [good.url, "passed"]
            assert said[1] == "fetchpool: interrupted: 1 of 1 passed\n"
            assert await redis.zscore(KEY, good.member) == 100
            assert await proxies.view.store.count_due() == 2
            assert {await redis.zscore(KEY, one.member) for one in hanging} == {10}


async def test_it_is_said_that_nothing_is_due(
    server: RedisServer, redis: Redis, capsys: Printed
) -> None:
    async with open_proxies(settings(server)) as proxies:
        assert not await commands.check(proxies, [], "universal")
    assert capsys.readouterr().err.startswith("fetchpool: there is no proxy to check: ")
    await fill(redis, "8.8.8.8:80", kind=Kind.PASSED)
    async with open_proxies(settings(server)) as proxies:
        assert not await commands.check(proxies, [], "universal")
    assert capsys.readouterr() == (
        "0 of 0 passed\n",
        "fetchpool: none of the 1 proxies is due for a check: a service that runs checks them, or"
        " they were checked just now. Named ones are checked in any case\n",
    )


async def test_a_proxy_that_is_never_checked_is_named(
    server: RedisServer, redis: Redis, capsys: Printed
) -> None:
    own = [Candidate(parse_proxy("u:secret@8.8.8.8:80"), Record(own=True, never_check=True))]
    await Store(redis, Pool()).add(own, operator=True)
    async with open_proxies(settings(server)) as proxies:
        assert not await commands.check(proxies, ["8.8.8.8:80"], "universal")
    said = capsys.readouterr()
    assert said.out == "0 of 0 passed\n"
    words = "is never checked, as pool.proxies has it with never_check"
    assert said.err == f"fetchpool: http://8.8.8.8:80 {words}\n"


# -- as a user runs them ---------------------------------------------------------------------------


def test_the_commands_work_together(tmp_path: Path, server: RedisServer) -> None:
    def fetchpool(*words: str, stdin: bytes = b"") -> Any:
        return run(tmp_path, "--redis", server.url, "proxies", *words, stdin=stdin)

    (tmp_path / "list.txt").write_text("8.8.8.8:80\nsocks5://8.8.4.4:1080\n")
    assert fetchpool("add", "list.txt").out == "2 added, 0 known\n"
    assert fetchpool("add", "-", stdin=b"8.8.8.8:80").out == "0 added, 1 known\n"
    assert fetchpool("export", "--scheme", "socks5").out == "socks5://8.8.4.4:1080\n"
    [one] = json.loads(fetchpool("list", "--format", "json", "--limit", "1").out)
    assert fetchpool("remove", one["id"]).out == "1 removed\n"
    gone = fetchpool("remove", one["id"])
    assert (gone.code, gone.out) == (1, "0 removed\n")
    assert fetchpool("import", server.url, "--key", "proxies:universal:socks").out.startswith("0 ")
    missing = fetchpool("import", "missing.txt")
    assert (missing.code, "missing.txt" in missing.err) == (2, True)
    wrong = fetchpool("list", "--country", "Germany")
    assert (wrong.code, "--country: expected two letters" in wrong.err) == (2, True)
