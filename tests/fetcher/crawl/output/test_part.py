import fcntl
import os
import threading
from pathlib import Path

import pytest

from fetcher.crawl.model import Mark, Page
from fetcher.crawl.output.names import OutputError
from fetcher.crawl.output.part import Part, is_locked, lock_file
from tests.fetcher.crawl.output.pages import make_page


class Plain:
    """Bodies one behind the other."""

    def begin(self, name: str, now: float) -> bytes:
        return f"[{name}]".encode()

    def encode(self, page: Page) -> tuple[bytes, int]:
        return page.body, 1 if page.body else 0


def take(path: Path, rotate: int = 0) -> Part:
    lock = lock_file(str(path))
    assert lock is not None
    return Part(str(path), lock, "m", rotate, Plain)


def add(part: Part, *bodies: bytes) -> dict[str, tuple[Mark, Mark]]:
    marks = part.append([make_page(body=body) for body in bodies], 0.0)
    part.commit()
    return marks


def test_pages_are_appended_behind_a_beginning(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    part = take(path)
    part.begin({})
    assert (part.key, part.mark) == (f"m:{path}", Mark())
    assert add(part, b"") == {f"m:{path}": (Mark(), Mark())}
    assert path.read_bytes() == b""
    assert add(part, b"", b"one", b"two") == {f"m:{path}": (Mark(), Mark(13, 2))}
    assert add(part, b"three") == {f"m:{path}": (Mark(13, 2), Mark(18, 3))}
    assert path.read_bytes() == b"[a.csv]onetwothree"
    part.close()


def test_what_is_long_is_written_piece_by_piece(tmp_path: Path) -> None:
    part = take(tmp_path / "a.csv")
    part.begin({})
    bodies = [bytes([65 + number]) * 700_000 for number in range(5)]
    add(part, *bodies)
    assert (tmp_path / "a.csv").read_bytes() == b"[a.csv]" + b"".join(bodies)
    part.close()


def test_what_lies_behind_the_mark_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"[a.csv]onetw")
    part = take(path)
    part.begin({f"m:{path}": Mark(10, 1), "m:/other": Mark(5, 5)})
    assert path.read_bytes() == b"[a.csv]one"
    add(part, b"two")
    assert path.read_bytes() == b"[a.csv]onetwo"
    part.close()


@pytest.mark.parametrize(
    ("size", "mark", "is_refused"),
    [
        (0, None, False),
        (1, None, True),
        (9, Mark(0, 0), False),
        (9, Mark(8, 1), False),
        (9, Mark(9, 1), False),
        (9, Mark(10, 1), True),
    ],
)
def test_what_is_not_this_crawl_s_or_lacks_something_is_refused_and_stays(
    size: int, mark: Mark | None, is_refused: bool, tmp_path: Path
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"x" * size)
    part = take(path)
    marks = {} if mark is None else {f"m:{path}": mark}
    if is_refused:
        with pytest.raises(OutputError, match=r"name another file|put it back"):
            part.begin(marks)
        assert path.read_bytes() == b"x" * size
    else:
        part.begin(marks)
        assert path.stat().st_size == (mark or Mark()).bytes
    part.close()


def test_a_file_of_another_machine_is_refused_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"x")
    part = take(path)
    with pytest.raises(OutputError, match="written by other:host for this crawl"):
        part.begin({f"other:host:{path}": Mark(1, 1)})
    part.close()


def test_what_was_not_kept_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    part = take(path)
    part.begin({})
    add(part, b"one")
    part.append([make_page(body=b"two")], 0.0)
    part.revert()
    assert path.read_bytes() == b"[a.csv]one"
    assert part.mark == Mark(10, 1)
    path.write_bytes(b"[a.csv]one and what could not be cut off")
    add(part, b"2")
    assert path.read_bytes() == b"[a.csv]one2"
    part.close()


def test_older_marks_cut_off_more(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    part = take(path)
    part.begin({})
    add(part, b"one")
    add(part, b"two")
    part.cut({f"m:{path}": Mark(10, 1)})
    assert (path.read_bytes(), part.mark) == (b"[a.csv]one", Mark(10, 1))
    part.cut({})
    assert (path.read_bytes(), part.mark) == (b"", Mark())
    with pytest.raises(OutputError, match="lacks 10 bytes"):
        part.cut({f"m:{path}": Mark(10, 1)})
    part.close()


def test_a_file_that_is_gone_is_not_written_to(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    part = take(path)
    part.begin({})
    add(part, b"one")
    path.rename(tmp_path / "b.csv")
    with pytest.raises(OutputError, match="removed or replaced"):
        part.append([make_page()], 0.0)
    path.write_bytes(b"[a.csv]one")
    with pytest.raises(OutputError, match="removed or replaced"):
        part.append([make_page()], 0.0)
    part.revert()
    (tmp_path / "b.csv").rename(path)
    add(part, b"two")
    assert path.read_bytes() == b"[a.csv]onetwo"
    part.close()


@pytest.mark.parametrize(("rotate", "files"), [(0, 1), (9, 2), (10, 1), (11, 1)])
def test_above_its_length_a_file_is_followed_by_the_next(
    rotate: int, files: int, tmp_path: Path
) -> None:
    path, following = tmp_path / "a.csv", tmp_path / "a-00001.csv"
    part = take(path, rotate)
    part.begin({})
    marks = add(part, b"one")  # 10 bytes
    assert len(marks) == files
    if files == 2:
        assert marks[f"m:{following}"] == (Mark(), Mark())
        assert following.read_bytes() == b""
        assert (part.path, part.mark) == (str(following), Mark())
        assert is_locked(str(following))
        assert is_locked(str(path))
        assert add(part, b"2")[f"m:{following}"] == (Mark(), Mark(14, 1))
        assert following.read_bytes() == b"[a-00001.csv]2"
    part.close()
    assert not is_locked(str(path))


def rotated(path: Path) -> tuple[Part, dict[str, Mark]]:
    """A part in its third file, and its marks."""
    part = take(path, 5)
    part.begin({})
    marks: dict[str, Mark] = {}
    for body in (b"one", b"two"):
        marks |= {key: after for key, (_, after) in add(part, body).items()}
    part.append([make_page(body=b"three")], 0.0)
    return part, marks


def test_a_row_of_files_goes_on_in_the_last_that_has_a_mark(tmp_path: Path) -> None:
    path, third = tmp_path / "a.csv", tmp_path / "a-00002.csv"
    part, marks = rotated(path)
    assert third.stat().st_size
    part.close()  # as if killed
    part = take(path, 5)
    part.begin(marks)
    assert (part.path, part.mark, third.read_bytes()) == (str(third), Mark(), b"")
    assert (tmp_path / "a-00001.csv").read_bytes() == b"[a-00001.csv]two"
    part.close()


def test_a_row_of_files_can_be_cut_back_to_an_earlier_one(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    part, marks = rotated(path)
    del marks[f"m:{tmp_path / 'a-00002.csv'}"]
    part.cut(marks)
    assert (tmp_path / "a-00002.csv").read_bytes() == b""
    assert (part.path, part.mark) == (str(tmp_path / "a-00001.csv"), Mark(16, 1))
    part.cut({f"m:{path}": Mark(10, 1)})
    assert (tmp_path / "a-00001.csv").read_bytes() == b""
    assert list(add(part, b"x")) == [f"m:{path}", f"m:{tmp_path / 'a-00001.csv'}"]
    assert path.read_bytes() == b"[a.csv]onex"
    part.close()


def test_a_foreign_file_in_the_row_stays_as_it_is(tmp_path: Path) -> None:
    path, following = tmp_path / "a.csv", tmp_path / "a-00001.csv"
    following.write_bytes(b"precious")
    part = take(path, 5)
    part.begin({})
    with pytest.raises(OutputError, match="is to be the next file, but it exists"):
        part.append([make_page(body=b"one")], 0.0)
    part.revert()
    assert (path.read_bytes(), following.read_bytes()) == (b"", b"precious")
    following.unlink()
    assert len(add(part, b"one")) == 2
    part.close()


def test_a_file_in_the_row_that_another_writes_to_is_refused(tmp_path: Path) -> None:
    path, following = tmp_path / "a.csv", tmp_path / "a-00001.csv"
    lock = lock_file(str(following))
    assert lock is not None
    part = take(path, 5)
    with pytest.raises(OutputError, match="being written by another process"):
        part.begin({f"m:{path}": Mark(), f"m:{following}": Mark()})
    part.begin({})
    with pytest.raises(OutputError, match="being written by another process"):
        part.append([make_page(body=b"one")], 0.0)
    part.revert()
    part.close()
    os.close(lock)


def test_a_file_is_locked_until_it_is_closed(tmp_path: Path) -> None:
    path = str(tmp_path / "a.csv")
    file = lock_file(path)
    assert file is not None
    assert not os.get_inheritable(file)
    assert is_locked(path)
    assert lock_file(path) is None
    os.close(file)
    assert not is_locked(path)


def test_a_file_that_is_removed_while_it_is_locked_is_not_the_one_that_is_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.csv"
    path.touch()
    lock = fcntl.flock

    def remove_first(file: int, kind: int) -> None:
        calls.append(kind)
        if len(calls) < 3:
            path.unlink()  # as who closes it without having written does
        if len(calls) == 2:
            path.touch()
        lock(file, kind)

    calls: list[int] = []
    monkeypatch.setattr(fcntl, "flock", remove_first)
    file = lock_file(str(path))
    assert len(calls) == 3
    assert file is not None
    assert os.path.samestat(os.fstat(file), path.stat())
    os.close(file)


@pytest.mark.parametrize("body", [b"", b"one"])
def test_an_empty_file_is_not_left_behind(body: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    part = take(path)
    part.begin({})
    add(part, body)
    part.end()
    assert path.exists() is bool(body)


def test_an_empty_file_in_the_row_is_not_left_behind(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    part = take(path, 5)
    part.begin({})
    marks = add(part, b"one")
    part.end()
    assert [file.name for file in tmp_path.iterdir()] == ["a.csv"]
    part = take(path, 5)
    part.begin({key: after for key, (_, after) in marks.items()})
    assert part.path == str(tmp_path / "a-00001.csv")
    part.close()


def test_what_is_not_ours_any_more_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    for is_there in (True, False):
        part = take(path)
        part.begin({})
        path.unlink()
        if is_there:
            path.touch()
        part.end()
        assert path.exists() is is_there


def test_who_only_looks_keeps_no_writer_away(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.touch()
    is_over = threading.Event()

    def look() -> None:
        while not is_over.is_set():
            is_locked(str(path))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for _ in range(300):
            file = lock_file(str(path))
            assert file is not None
            os.close(file)
    finally:
        is_over.set()
        looking.join()


def test_who_looks_for_ever_is_taken_for_a_writer(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with path.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        assert lock_file(str(path)) is None


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_is_no_regular_file_is_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    if kind == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    with pytest.raises((OutputError, IsADirectoryError)):
        lock_file(str(path))
