import io
import signal

import msgspec
import pytest

from fetcher.child import Child
from fetcher.child_process import pack, read_frame, set_alarm
from fetcher.crawl import parsing_process
from fetcher.crawl.links import Link, Reading, read_page
from fetcher.crawl.parser import MOST
from fetcher.crawl.parsing_process import MEMORY, SPENT, Answer, Job, serve

URL = "http://h/"


def job(
    content: bytes, content_type: str = "text/html", seconds: float = 10.0, want_text: bool = True
) -> Job:
    return Job(content, content_type, URL, want_text, seconds)


def served(*jobs: Job, rest: bytes = b"") -> list[Answer]:
    """The answers behind the first, which says that it is there; whatever this process holds."""
    answers = io.BytesIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parsing_process, "SPENT", 1 << 62)
        serve(io.BytesIO(b"".join(map(pack, jobs)) + rest), answers)
    answers.seek(0)
    frames = list(iter(lambda: read_frame(answers), None))
    first, *others = [msgspec.msgpack.decode(frame, type=Answer) for frame in frames if frame]
    assert first == Answer(Reading())
    return others


def test_it_does_one_job_after_the_other_until_there_are_no_more() -> None:
    pages = [b"<title>one</title><a href=/a>", b"", b"<p>three<script>no</script>"]
    assert served(*map(job, pages)) == [
        Answer(read_page(page.decode(), URL, want_text=True)) for page in pages
    ]
    assert served() == []


@pytest.mark.parametrize(
    ("content", "content_type", "title"),
    [
        ("<title>\u00e9</title>".encode("latin-1"), "text/html; charset=latin1", "\u00e9"),
        ("<title>\u00e9</title>".encode(), "", "\u00e9"),
        (b"<meta charset=koi8-r><title>\xc4\xc1</title>", "text/html", "\u0434\u0430"),
        (b"\xff\xfe" + "<title>\u00e9</title>".encode("utf-16-le"), "", "\u00e9"),
        (b"<title>\xff\x00&#xd800;</title>", "", "\ufffd\ufffd\ufffd"),
    ],
)
def test_it_decodes_as_everybody_does(content: bytes, content_type: str, title: str) -> None:
    [answer] = served(job(content, content_type))
    assert answer.reading.title == title
    assert answer.error is None


def test_a_frame_whose_parent_died_in_the_middle_of_it_is_the_end() -> None:
    assert len(served(job(b"x"), rest=b"\x00\x00")) == 1


def test_no_alarm_is_left_behind() -> None:
    served(job(b"x"))
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    set_alarm(0)


async def _ask(child: Child, one: Job) -> Answer:
    await child.send(pack(one))
    return msgspec.msgpack.decode(await child.receive(), type=Answer)


async def test_one_that_has_held_much_makes_place() -> None:
    child = await Child.start("fetcher.crawl.parsing_process", most=MOST)
    try:
        await child.receive()
        small = await _ask(child, job(b"<a href=/a>"))
        assert (small.is_spent, small.reading.links) == (False, [Link("http://h/a")])
        large = await _ask(child, job(b"<br>" * 1_500_000, want_text=False))
        assert large.is_spent
        assert large.error is None
        with pytest.raises((EOFError, OSError)):
            await _ask(child, job(b"x"))
    finally:
        await child.end(1.0)
    assert child.returncode == 0
    assert SPENT < MEMORY


async def test_an_alarm_ends_a_job_that_nobody_ends() -> None:
    child = await Child.start("fetcher.crawl.parsing_process", most=MOST)
    try:
        await child.receive()
        with pytest.raises(EOFError):
            await _ask(child, job(b"<div>" * 1_000_000, seconds=0.01))
    finally:
        await child.end(1.0)
    assert child.returncode == -signal.SIGALRM


async def test_it_ends_when_its_input_does() -> None:
    child = await Child.start("fetcher.crawl.parsing_process", most=MOST)
    await child.receive()
    await child.end(10.0)
    assert child.returncode == 0
