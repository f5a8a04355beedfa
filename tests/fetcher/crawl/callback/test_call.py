"""The process of a callback, as a program with two pipes."""

import io
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fetcher.child_process import pack, read_frame
from fetcher.crawl.callback.call import MOST_ERROR, MOST_TRACEBACK
from fetcher.crawl.callback.messages import MOST_FRAME, MOST_LINKS, PART_BYTES, Job, Part, Ready

ROOT = str(Path(__file__).resolve().parents[4])
PROGRAM = (
    f"import sys; sys.path.insert(0, {ROOT!r}); from fetcher.crawl.callback.call import main;"
    " main()"
)
MB = 1 << 20


class Ran:
    """What came of a run: whether it was ready, the answers, what it printed, how it ended."""

    def __init__(self, done: "subprocess.CompletedProcess[bytes]") -> None:
        pipe = io.BytesIO(done.stdout)
        frames = []
        while (frame := read_frame(pipe)) is not None:
            assert len(frame) <= MOST_FRAME
            frames.append(frame)
        self.ready = msgspec.msgpack.decode(frames[0], type=Ready)
        self.parts = [msgspec.msgpack.decode(frame, type=Part) for frame in frames[1:]]
        self.printed = done.stderr.decode()
        self.status = done.returncode

    @property
    def last(self) -> Part:
        return self.parts[-1]


def page(content: bytes = b"", seconds: float = 30.0, status: int = 200) -> bytes:
    url, size = "http://a/b", len(content)
    job = Job(seconds, size, url, status, {}, {}, 0, "", "utf-8", None, 0.0)
    return pack(job) + content


def run(folder: Path, code: str, *pages: bytes, memory: int = 512 * MB) -> Ran:
    (folder / "mine.py").write_text(code)
    command = [sys.executable, "-P", "-c", PROGRAM, "mine:see", str(memory)]
    return Ran(
        subprocess.run(
            command, input=b"".join(pages), capture_output=True, cwd=folder, timeout=30, check=False
        )
    )


def test_each_page_has_its_answer_and_the_end_of_pages_is_the_end(tmp_path: Path) -> None:
    code = "def see(url, html): return [url, html, {'n': len(html)}]"
    ran = run(tmp_path, code, page("é".encode()), page(b"xyz"))
    assert (ran.ready, ran.status, ran.printed) == (Ready(False), 0, "")
    assert [(part.links, part.items, part.is_last) for part in ran.parts] == [
        (["http://a/b", "http://a/%C3%A9"], [{"n": 1}], True),
        (["http://a/b", "http://a/xyz"], [{"n": 3}], True),
    ]
    assert run(tmp_path, code, b"\0\0").parts == []


def test_a_page_is_handed_over_where_one_is_taken(tmp_path: Path) -> None:
    code = "def see(page): yield {'title': page.title, 'status': page.status_code}"
    ran = run(tmp_path, code, page(b"<title>x</title>", status=404))
    assert ran.ready == Ready(True)
    assert ran.parts[0].items == [{"title": "x", "status": 404}]


def test_what_cannot_be_had_is_said_at_once(tmp_path: Path) -> None:
    ran = run(tmp_path, "1 / 0", page())
    error = "mine cannot be imported: ZeroDivisionError: division by zero (mine.py:1)"
    assert (ran.ready, ran.parts, ran.status) == (Ready(error=error), [], 0)


PRINTS = """
import os, subprocess, sys
print("at import")
def see(page):
    print("by print")
    sys.stdout.write("by write\\n")
    sys.stdout.flush()
    os.write(1, b"by descriptor\\n")
    subprocess.run(["echo", "by another"])
    return {"read": sys.stdin.read(), "from": os.read(0, 9).decode()}
"""


def test_what_it_prints_and_reads_is_not_ours(tmp_path: Path) -> None:
    ran = run(tmp_path, PRINTS, page(), page())
    assert [part.items for part in ran.parts] == [[{"read": "", "from": ""}]] * 2
    for way in ("at import", "by print", "by write", "by descriptor", "by another"):
        assert way in ran.printed


BODIES = {
    "raise KeyError('x')": "KeyError: 'x'",
    "yield 'x'; raise KeyError": "KeyError",
    "sys.exit(3)": "SystemExit: 3",
    "raise KeyboardInterrupt": "KeyboardInterrupt",
    "raise GeneratorExit": "GeneratorExit",
    "raise Rude": "mine.Rude: <exception str() failed>",
    "raise ValueError('a\\x1b[1m\\nb\\ud800')": "ValueError: a [1m b?",
    "raise ValueError('x' * 388)": f"ValueError: {'x' * 388}",
    "raise ValueError('x' * 389)": f"ValueError: {'x' * 387}…",
    "see(page)": "RecursionError: maximum recursion depth exceeded",
}


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Every body has its page, in order."""
    code = "import sys\nclass Rude(Exception):\n    def __str__(self): raise self\n"
    code += "def see(page): return globals()['body' + page.html](page)\n"
    code += "".join(f"def body{n}(page): {body}\n" for n, body in enumerate(BODIES))
    pages = [page(b"%d" % n) for n in range(len(BODIES))]
    return run(tmp_path_factory.mktemp("failed"), code, *pages)


@pytest.mark.parametrize("body", BODIES)
def test_an_error_is_that_pages_only(failed: Ran, body: str) -> None:
    place = list(BODIES).index(body)
    part = failed.parts[place]
    assert part.error is not None and part.is_last and not part.is_spent
    assert part.error.startswith(BODIES[body])
    assert len(part.error) <= MOST_ERROR
    assert len(part.traceback) <= MOST_TRACEBACK
    assert part.links == ["http://a/x"] * ("yield 'x'" in body)
    if "raise" in body:
        assert part.error.endswith(f"(mine.py:{place + 5})")
        assert f"line {place + 5}, in body{place}" in part.traceback
    assert failed.status == 0


def test_what_it_cannot_give_is_that_pages_error(tmp_path: Path) -> None:
    ran = run(tmp_path, "def see(page): return ['x', {'a': b'x'}, 7, {'b': 1}]", page())
    assert (ran.last.links, ran.last.items) == (["http://a/x"], [{"b": 1}])
    assert ran.last.error == "a is of type bytes, which JSON does not have"
    assert ran.last.traceback == ""


def test_too_much_memory_is_said_and_is_the_end(tmp_path: Path) -> None:
    code = "def see(url, html): return {'n': len(bytearray(int(html)))}"
    sizes = (b"%d" % (60 * MB), b"%d" % (600 * MB), b"1")
    ran = run(tmp_path, code, *map(page, sizes), memory=100 * MB)
    assert ran.parts[0].items == [{"n": 60 * MB}]
    assert len(ran.parts) == 2
    assert (ran.last.is_spent, ran.last.error) == (True, "it takes more than 100 MB of memory")


def test_what_it_holds_before_the_first_page_is_not_counted(tmp_path: Path) -> None:
    code = f"held = bytearray({200 * MB})\ndef see(url, html): return {{'n': len(held)}}"
    assert run(tmp_path, code, page(), memory=100 * MB).parts[0].items == [{"n": 200 * MB}]


@pytest.mark.parametrize(("count", "error"), [
    (MOST_LINKS - 1, None), (MOST_LINKS, None),
    (MOST_LINKS + 1, "it gave more than 10,000 links: the rest is left out"),
])  # fmt: skip
def test_many_links_come_in_parts(tmp_path: Path, count: int, error: str | None) -> None:
    code = f"def see(url, html): return ('x' * 100 + str(n) for n in range({count}))"
    ran = run(tmp_path, code, page())
    links = [link for part in ran.parts for link in part.links]
    assert links == [f"http://a/{'x' * 100}{n}" for n in range(min(count, MOST_LINKS))]
    assert ran.last.error == error
    assert all(sum(map(len, part.links)) < PART_BYTES + 200 for part in ran.parts)
    assert len(ran.parts) > 2


def test_many_dicts_come_in_parts_and_large_ones_alone(tmp_path: Path) -> None:
    code = f"""
def see(url, html):
    for n in range(1000): yield {{"n": n, "x": "x" * 1000}}
    yield {{"x": "y" * {8 * MB}}}
    yield {{"x": "z" * {8 * MB}}}
"""
    ran = run(tmp_path, code, page())
    items: list[Any] = [item for part in ran.parts for item in part.items]
    assert [item.get("n") for item in items] == [*range(1000), None]
    assert ran.last.error == "it gave more than 16 MB: the rest is left out"
    assert [len(part.items) > 1 for part in ran.parts][:3] == [True] * 3


def test_a_page_without_an_end_ends_the_process_though_nobody_kills_it(tmp_path: Path) -> None:
    code = "import threading\ndef see(page): threading.Event().wait()"
    assert run(tmp_path, code, page(seconds=0.01)).status == -signal.SIGALRM


def test_a_callback_that_dies_is_an_end(tmp_path: Path) -> None:
    ran = run(tmp_path, "import os\ndef see(page): os._exit(3)", page(), page())
    assert (ran.status, ran.parts) == (3, [])


def test_it_has_not_what_would_cost_it_its_start(tmp_path: Path) -> None:
    code = "import sys\ndef see(page): return {'modules': list(sys.modules)}"
    modules = run(tmp_path, code, page()).last.items[0]["modules"]
    dear = {"asyncio", "lxml", "pycurl", "pyquery", "redis", "selectolax", "tornado"}
    assert "msgspec" in modules
    assert not dear & set(modules)


FILE = """
class see:
    def __init__(self): self.file = open("out", "w")
    def __call__(self, url, html): self.file.write(html + "\\n")
"""


def test_files_that_it_has_open_are_whole_in_the_end(tmp_path: Path) -> None:
    assert run(tmp_path, FILE, page(b"one"), page(b"two")).status == 0
    assert (tmp_path / "out").read_text() == "one\ntwo\n"


def test_it_ends_when_nobody_reads_its_answer(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def see(url, html): return 'x'")
    command = [sys.executable, "-P", "-c", PROGRAM, "mine:see", str(512 * MB)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=tmp_path
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdout.close()
        process.stdin.write(page())
        process.stdin.close()
        assert process.wait(20) == 0
