"""The face of the fetcher: how programs build it, ask it, and are told what is wrong."""

import asyncio
import doctest
import re
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

import fetchpool
from fetcher.errors import FetcherClosed, OptionError, TaskError
from fetcher.model import Task, Trust
from fetcher.run.fetcher import AnyTask, Fetcher
from fetcher.settings import Fetcher as Settings
from fetchpool.farm import Farm
from tests.wait import wait_until

pytestmark = pytest.mark.timeout(30)


@pytest_asyncio.fixture
async def farm() -> AsyncIterator[Farm]:
    async with Farm() as started:
        yield started


@pytest.mark.parametrize("kind", ["url", "dict", "Task"])
async def test_a_task_may_have_any_form(farm: Farm, kind: str) -> None:
    url = farm.origin.url + "/get"
    given: dict[str, AnyTask] = {"url": url, "dict": {"url": url, "x": 1}, "Task": Task(url=url)}
    async with Fetcher.from_settings() as fetcher:
        result = await fetcher.fetch(given[kind])
    assert (result.status_code, result.url) == (200, url)


async def test_options_go_beside_a_url_only(farm: Farm) -> None:
    async with Fetcher.from_settings() as fetcher:
        await fetcher.fetch(farm.origin.url + "/post", method="PUT", data="x", headers={"A": 1})
        with pytest.raises(TaskError, match="beside a URL"):
            await fetcher.fetch({"url": "data:,"}, method="PUT")
        with pytest.raises(TaskError, match=r"fetch\.timeout: expected number or null, got str"):
            await fetcher.fetch("data:,", timeout="soon")
    [seen] = farm.origin.requests
    assert (seen.method, seen.body, seen.get("A")) == ("PUT", b"x", "1")


async def test_settings_are_changed_by_name(farm: Farm) -> None:
    given = Settings(timeout=5, user_agent="one")
    async with Fetcher.from_settings(given, user_agent="two", max_body=3) as fetcher:
        result = await fetcher.fetch(farm.origin.url + "/get")
        assert (result.status_code, len(result.content)) == (599, 3)
        assert fetcher.shared.policy.defaults.timeout == 5
    assert farm.origin.requests[0].get("User-Agent") == "two"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"timeout": "soon"}, "timeout: expected"),
        ({"tmeout": 1}, "tmeout"),
        ({"user_agent": "a\r\nb"}, "user_agent"),
        ({"retries": -1}, "retries"),
    ],
)
async def test_a_setting_that_cannot_be_is_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(TaskError, match=words):
        Fetcher.from_settings(**changes)


async def test_the_environment_is_looked_at_only_when_it_is_handed_in(
    farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    trap = {"http_proxy": "http://127.0.0.1:1"}
    monkeypatch.setenv(*next(iter(trap.items())))
    async with Fetcher.from_settings() as fetcher:
        assert (await fetcher.fetch(farm.origin.url + "/get")).status_code == 200
    async with Fetcher.from_settings(environment=trap) as fetcher:
        assert (await fetcher.fetch(farm.origin.url + "/get")).status_code == 599


async def test_guarded_tasks_may_not_name_things_of_this_machine() -> None:
    async with Fetcher.from_settings() as fetcher:
        result = await fetcher.fetch(
            {"url": "http://127.0.0.1/", "fetch": {"client_cert": "x.pem"}}, trust=Trust.GUARDED
        )
    assert "only tasks of the queue" in str(result.error)


async def test_many_come_as_they_are_done_and_are_drawn_as_there_is_room(farm: Farm) -> None:
    drawn: list[int] = []

    def tasks() -> Iterator[str]:
        for number in range(40):
            drawn.append(number)
            yield f"{farm.origin.url}/get?n={number}"

    seen = set()
    async with Fetcher.from_settings() as fetcher:
        async for task, result in fetcher.fetch_many(tasks(), concurrency=4):
            seen.add(task)
            assert result.status_code == 200
            assert len(drawn) <= len(seen) + 4
    assert len(seen) == 40


async def test_many_may_come_from_an_asynchronous_source() -> None:
    async def tasks() -> AsyncIterator[dict[str, Any]]:
        for number in range(3):
            yield {"url": f"data:,{number}", "taskid": number}

    async with Fetcher.from_settings() as fetcher:
        got = {task["taskid"]: r.content async for task, r in fetcher.fetch_many(tasks())}  # type: ignore[index]
    assert got == {0: b"0", 1: b"1", 2: b"2"}


async def test_leaving_early_ends_what_is_under_way(farm: Farm) -> None:
    async with Fetcher.from_settings() as fetcher:
        many = fetcher.fetch_many(["data:,x", *[farm.origin.url + "/never"] * 3])
        async for _ in many:
            break
        assert fetcher.in_flight == 3
        await many.aclose()  # type: ignore[attr-defined]
        assert fetcher.in_flight == 0


async def test_results_are_counted_by_project_and_status(farm: Farm) -> None:
    async with Fetcher.from_settings() as fetcher:
        await fetcher.fetch({"url": farm.origin.url + "/status/404", "project": "p"})
        counted = fetcher.stats.read("5m", "sum", time.monotonic())
    assert counted["p"]["400"] == 1


async def test_robots_txt_is_asked_for_once_and_obeyed(farm: Farm) -> None:
    async with Fetcher.from_settings(user_agent="bot/1") as fetcher:
        urls = [farm.origin.url + path for path in ("/deny", "/deny", "/get", "/get")]
        results = [await fetcher.fetch(url, robots_txt=True) for url in urls]
    assert [result.status_code for result in results] == [403, 403, 200, 200]
    assert results[0].error == "HTTP 403: Disallowed by robots.txt"
    targets = [request.target for request in farm.origin.requests]
    assert targets == ["/robots.txt", "/get", "/get"]


async def test_a_deadline_ends_the_wait_for_robots_txt(farm: Farm) -> None:
    async def silent(call: Any) -> None:
        await call.raw().read_until_close()

    farm.origin.pages.insert(0, (re.compile("/robots.txt"), silent))
    async with Fetcher.from_settings() as fetcher:
        result = await fetcher.fetch(farm.origin.url + "/get", robots_txt=True, timeout=0.2)
        assert (result.status_code, "timed out" in str(result.error)) == (599, True)


def test_the_examples_of_the_package_are_true() -> None:
    outcome = doctest.testmod(fetchpool)
    assert outcome.attempted > 5
    assert not outcome.failed


async def test_what_is_no_task_takes_none_of_the_others_with_it() -> None:
    tasks: list[Any] = [
        "data:,one",
        {"url": "data:,two", "fetch": {"timeout": "soon"}},
        None,
        {"url": 5},
        b"data:,three",
        {"url": "data:,four"},
    ]
    async with Fetcher.from_settings() as fetcher:
        pairs = [pair async for pair in fetcher.fetch_many(tasks, concurrency=2)]
    told = {repr(task): (result.status_code, result.error) for task, result in pairs}
    assert [status for status, _ in (told[repr(task)] for task in tasks)] == [
        *(200, 599, 599, 599, 599, 200)
    ]
    assert told[repr(tasks[1])][1] == "fetch.timeout: expected number or null, got str"
    assert told["None"][1] == "expected a URL or a task, got NoneType"


@pytest.mark.parametrize("concurrency", [0, -1])
async def test_without_room_for_one_nothing_could_be_fetched(concurrency: int) -> None:
    async with Fetcher.from_settings() as fetcher:
        with pytest.raises(ValueError, match="concurrency: expected 1 or more"):
            await anext(fetcher.fetch_many(["data:,"], concurrency=concurrency))


async def test_a_closed_fetcher_says_so_to_all_who_wait_and_who_come(farm: Farm) -> None:
    fetcher = Fetcher.from_settings()
    url = f"{farm.origin.url}/never"

    async def many() -> None:
        async for _ in fetcher.fetch_many([url] * 2):
            pass

    waiting = [asyncio.create_task(fetcher.fetch(url)), asyncio.create_task(many())]
    await wait_until(lambda: farm.origin.hits["/never"] == 3)
    fetcher.close()
    fetcher.close()
    waiting += [asyncio.create_task(fetcher.fetch(url)), asyncio.create_task(many())]
    ended = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(error) for error in ended] == [FetcherClosed] * 4


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"timout": 3}, "there is no option timout: did you mean timeout?"),
        ({"json": {"a": 1}}, "there is no option json: "),
    ],
)
async def test_an_option_that_there_is_not_is_refused(options: dict[str, Any], words: str) -> None:
    async with Fetcher.from_settings(proxy="direct") as fetcher:
        with pytest.raises(OptionError, match=re.escape(words)):
            await fetcher.fetch("http://127.0.0.1:1/", **options)
        with pytest.raises(OptionError, match=re.escape(words)):
            async with fetcher.stream("http://127.0.0.1:1/", **options):
                pass


def test_outside_of_an_event_loop_it_says_what_to_do() -> None:
    with pytest.raises(RuntimeError, match="inside of `async def`, or take BlockingFetcher"):
        Fetcher.from_settings()
