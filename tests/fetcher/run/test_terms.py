"""What whoever starts a task wants beside its result."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from fetcher.model import Fetch, Result, Task
from fetcher.run.fetcher import Fetcher
from fetcher.run.path import Fetching
from fetcher.run.terms import NO_TERMS, Terms
from fetcher.task.request import build_plan
from fetchpool.farm import Origin

LENGTH = 300_000  # more than comes in the turn in which an answer begins


class Reader:
    """A receiver."""

    def __init__(self) -> None:
        self.begun: list[Result] = []
        self.body = b""

    def begin(self, fetching: Fetching, result: Result) -> None:
        self.begun.append(result)

    def chunk(self, data: bytes) -> None:
        self.body += data


class Text:
    """An upload."""

    def __init__(self, text: bytes) -> None:
        self.size: int | None = len(text)
        self.failed = False
        self.wake: Callable[[], None] | None = None
        self._text = text

    def read(self, n: int) -> bytes:
        chunk, self._text = self._text[:n], self._text[n:]
        return chunk


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    async with Origin() as started:
        yield started


@pytest.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    async with Fetcher.from_settings() as one:
        yield one


async def run(fetcher: Fetcher, task: Task, terms: Terms) -> tuple[Fetching, Result]:
    heard: asyncio.Future[tuple[Fetching, Result]] = asyncio.get_running_loop().create_future()
    fetcher.run(task, lambda fetching, result: heard.set_result((fetching, result)), terms=terms)
    return await heard


async def test_without_any_a_result_is_whole(origin, fetcher) -> None:
    _, result = await run(fetcher, Task(url=f"{origin.url}/bytes/{LENGTH}"), NO_TERMS)
    assert (result.status_code, len(result.content)) == (200, LENGTH)


async def test_a_receiver_has_the_answer_as_it_comes_and_is_known_no_longer_then(
    origin, fetcher
) -> None:
    reader = Reader()
    task = Task(url=f"{origin.url}/bytes/{LENGTH}")
    fetching, result = await run(fetcher, task, Terms(receiver=reader))
    assert (result.status_code, result.content) == (200, b"")
    assert reader.begun == [result]
    assert len(reader.body) == LENGTH
    assert fetching.terms is NO_TERMS


async def test_an_upload_is_the_body(origin, fetcher) -> None:
    task = Task(url=f"{origin.url}/ip", fetch=Fetch(method="POST"))
    fetching, result = await run(fetcher, task, Terms(upload=Text(b"x" * 1000)))
    assert result.status_code == 200
    assert origin.requests[-1].body == b"x" * 1000
    assert fetching.first.body is not None


async def test_a_plan_for_that_very_url_is_taken_as_it_is(origin, fetcher) -> None:
    task = Task(url=f"{origin.url}/ip")
    defaults = fetcher.shared.policy.defaults
    plan = build_plan(Task(url=task.url, fetch=Fetch(headers={"X-A": "b"})), defaults)
    fetching, result = await run(fetcher, task, Terms(plan=plan))
    assert fetching.first is plan.request
    assert result.status_code == 200
    elsewhere = Task(url=f"{origin.url}/status/404")
    fetching, result = await run(fetcher, elsewhere, Terms(plan=plan))
    assert (fetching.first.url, fetching.first.headers) == (elsewhere.url, plan.request.headers)
    assert result.status_code == 404


async def test_a_delay_needs_a_clock(origin, fetcher) -> None:
    _, result = await run(fetcher, Task(url=f"{origin.url}/ip"), Terms(delay=1.0))
    assert "delay" in str(result.error)


async def test_where_it_leads_is_guarded_if_that_is_wanted(origin) -> None:
    async with Fetcher.from_settings(allow_private=False) as fetcher:
        task = Task(url=f"{origin.url}/ip")
        _, result = await run(fetcher, task, NO_TERMS)
        assert result.status_code == 200
        _, result = await run(fetcher, task, Terms(guarded=True))
        assert "not public" in str(result.error)
