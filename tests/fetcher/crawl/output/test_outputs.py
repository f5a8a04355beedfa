import json
import os
import random
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from fetcher.crawl.model import Mark, Options
from fetcher.crawl.output import outputs as module
from fetcher.crawl.output.outputs import OutputError, Outputs, locked, part_paths
from fetcher.crawl.output.reading import read_part
from tests.fetcher.crawl.output.pages import FAILED, OPTIONS, REDIRECT, make_page
from tests.fetcher.crawl.output.verified import verify_file
from tests.fetcher.crawl.output.writing import load, open_outputs, write_batch

ALL = ("pages.jsonl", "pages.csv", "crawl.warc.gz", "crawl.warc", "site/")
KILLS = 10


def open_all(
    folder: Path,
    marks: dict[str, Mark],
    names: tuple[str, ...] = ALL,
    options: Options = OPTIONS,
) -> Outputs:
    paths = [os.path.join(folder, name) for name in names]
    return Outputs.open(
        paths, marks, name="c", machine="m", options=options, software="fetchpool/1"
    )


def sizes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in folder.rglob("*") if path.is_file()}


def urls(path: Path | str) -> list[str]:
    return [read.url for read in read_part(str(path))]


def test_each_output_gets_what_is_its_own(tmp_path: Path) -> None:
    outputs = open_all(tmp_path, {})
    assert outputs.keys == [
        f"m:{tmp_path}/{name}"
        for name in ("pages.jsonl", "pages.csv", "crawl.warc.gz", "crawl.warc", "site/index.jsonl")
    ]
    assert outputs.marks == dict.fromkeys(outputs.keys, Mark())
    marks = outputs.write([make_page(), FAILED, REDIRECT])
    assert [after.records for _, after in marks.values()] == [2, 2, 2, 2, 2]
    assert outputs.marks == {key: after for key, (_, after) in marks.items()}
    for key, (before, after) in marks.items():
        path = key.removeprefix("m:")
        assert before == Mark()
        assert after.bytes == os.path.getsize(path)
        *_, last = read_part(path)
        assert last.end == after.bytes
    for name in ("crawl.warc.gz", "crawl.warc"):
        assert len(verify_file(f"{tmp_path}/{name}")) == 5
    outputs.close()


def test_others_can_check_the_archives(tmp_path: Path) -> None:
    outputs = open_all(tmp_path, {})
    outputs.write([make_page(), make_page("http://example.com/b"), REDIRECT])
    outputs.close()
    archives = [f"{tmp_path}/crawl.warc.gz", f"{tmp_path}/crawl.warc"]
    subprocess.run(["gzip", "-t", archives[0]], check=True)
    for path in archives:
        command = [sys.executable, "-c", "from warcio.cli import main; main()", "check", path]
        subprocess.run(command, check=True)


def test_processes_at_the_same_time_have_parts_of_their_own(tmp_path: Path) -> None:
    first = open_all(tmp_path, {})
    second = open_all(tmp_path, first.marks)
    assert set(first.keys).isdisjoint(second.keys)
    second.write([make_page()])
    assert urls(tmp_path / "pages.2.jsonl") == ["http://example.com/"]
    assert locked(f"{tmp_path}/pages.2.jsonl")
    assert part_paths(f"{tmp_path}/crawl.warc.gz") == [
        f"{tmp_path}/crawl.warc.gz",
        f"{tmp_path}/crawl.2.warc.gz",
    ]
    assert part_paths(f"{tmp_path}/site/") == [
        f"{tmp_path}/site/index.jsonl",
        f"{tmp_path}/site/index.2.jsonl",
    ]
    first.close()
    third = open_all(tmp_path, {**first.marks, **second.marks})
    assert third.keys == [key.replace(".2.", ".") for key in second.keys]
    second.close()
    third.close()
    assert not locked(f"{tmp_path}/pages.jsonl")


def test_marks_are_read_behind_the_lock(tmp_path: Path) -> None:
    first = open_all(tmp_path, {}, ("pages.jsonl",))
    stale = first.marks
    first.write([make_page()])
    taken = Outputs.take(
        [f"{tmp_path}/pages.jsonl"], name="c", machine="m", options=OPTIONS, software="f"
    )
    marks = first.marks
    first.close()
    second = taken.begin({**stale, **marks})
    assert second.keys == [f"m:{tmp_path}/pages.2.jsonl"]
    assert len(urls(tmp_path / "pages.jsonl")) == 1
    second.close()


def test_there_are_only_so_many_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PARTS", 2)
    both = [open_all(tmp_path, {}, ("a.csv",)) for _ in range(2)]
    with pytest.raises(OutputError, match="2 processes write to it"):
        open_all(tmp_path, {}, ("a.csv",))
    for outputs in both:
        outputs.close()


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("a.txt",), "there is no format .txt"),
        (("a.jsonl", "a.txt"), "there is no format .txt"),
        (("a.csv", "a.csv"), "named twice"),
        (("missing/a.csv",), "make its folder first"),
        (("file/a.csv",), "name a folder that is one"),
        (("file/site/",), "name a folder that is one"),
        (("file",), "a file is where a folder is to be"),
        (("folder.csv",), "end its name with /"),
        (("foreign.csv",), "this crawl has not written it"),
        (("a.jsonl", "foreign.csv"), "this crawl has not written it"),
    ],
)
def test_what_cannot_be_written_is_refused_with_what_would_be_right(
    names: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "foreign.csv").write_bytes(b"precious")
    with pytest.raises(OutputError, match=words):
        open_all(tmp_path, {}, names)
    assert (tmp_path / "foreign.csv").read_bytes() == b"precious"
    for path in tmp_path.glob("*.jsonl"):
        assert not locked(str(path))


def test_parts_that_were_refused_may_be_left_once_more(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.csv"
    foreign.write_bytes(b"precious")
    taken = Outputs.take([str(foreign)], name="c", machine="m", options=OPTIONS, software="s")
    with pytest.raises(OutputError, match="this crawl has not written it"):
        taken.begin({})
    taken.close()
    assert not locked(str(foreign))


def test_a_page_that_cannot_be_written_changes_nothing(tmp_path: Path) -> None:
    outputs = open_all(tmp_path, {})
    outputs.write([make_page()])
    before = sizes(tmp_path)
    bad = make_page("http://u:secret@example.com/b", started="when?")
    with pytest.raises(OutputError, match="pages cannot be written") as failure:
        outputs.write([make_page("http://example.com/a", b"other"), bad])
    assert "secret" not in str(failure.value)
    after = sizes(tmp_path)
    assert {name: after[name] for name in before} == before
    outputs.write([make_page("http://example.com/a", b"other")])
    for name in ("crawl.warc.gz", "crawl.warc"):
        *_, (last, _, _) = records = verify_file(f"{tmp_path}/{name}")
        assert (len(records), last.get_header("WARC-Type")) == (5, "response")
    assert len(urls(tmp_path / "site/index.jsonl")) == 2
    outputs.close()


def test_who_interrupts_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(file: int) -> None:
        raise KeyboardInterrupt

    outputs = open_all(tmp_path, {}, ("a.jsonl", "a.csv"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", interrupt)
        with pytest.raises(KeyboardInterrupt):
            outputs.write([make_page()])
    assert sizes(tmp_path) == {"a.jsonl": 0, "a.csv": 0}
    outputs.write([make_page()])
    assert urls(tmp_path / "a.jsonl") == urls(tmp_path / "a.csv") == ["http://example.com/"]
    outputs.close()


def test_a_payload_that_was_cut_off_is_not_referred_to(tmp_path: Path) -> None:
    outputs = open_all(tmp_path, {}, ("a.warc.gz",))
    outputs.write([make_page(body=b"one")])
    marks = outputs.marks
    outputs.write([make_page("http://example.com/a", b"two")])
    outputs.cut(marks)
    assert outputs.marks == marks
    outputs.write([make_page("http://example.com/b", b"two")])
    records = verify_file(f"{tmp_path}/a.warc.gz")
    assert [record[0].get_header("WARC-Type") for record in records][-1] == "response"
    assert urls(tmp_path / "a.warc.gz") == ["http://example.com/", "http://example.com/b"]
    outputs.close()


def test_archives_are_rotated_and_nothing_else(tmp_path: Path) -> None:
    outputs = open_all(tmp_path, {}, options=replace(OPTIONS, rotate=1))
    for number in range(3):
        outputs.write([make_page(f"http://example.com/{number}")])
    outputs.close()
    archives = part_paths(f"{tmp_path}/crawl.warc.gz")
    assert [os.path.basename(path) for path in archives] == [
        "crawl.warc.gz",
        "crawl-00001.warc.gz",
        "crawl-00002.warc.gz",
    ]
    for number, path in enumerate(archives):
        assert urls(path) == [f"http://example.com/{number}"]
        (first, *_) = verify_file(path)
        assert first[0].get_header("WARC-Filename") == os.path.basename(path)
    assert part_paths(f"{tmp_path}/pages.jsonl") == [f"{tmp_path}/pages.jsonl"]


def test_a_file_that_was_to_come_next_does_not_if_another_output_fails(tmp_path: Path) -> None:
    outputs = open_all(tmp_path, {}, ("a.warc.gz", "a.csv"), replace(OPTIONS, rotate=1))
    (tmp_path / "a.csv").rename(tmp_path / "b.csv")
    for _ in range(2):
        with pytest.raises(OutputError, match="removed or replaced"):
            outputs.write([make_page()])
        assert sizes(tmp_path) == {"a.warc.gz": 0, "b.csv": 0}
    (tmp_path / "b.csv").rename(tmp_path / "a.csv")
    assert len(outputs.write([make_page()])) == 3
    outputs.close()
    assert set(sizes(tmp_path)) == {"a.warc.gz", "a.csv"}


def test_of_what_is_not_there_there_are_no_parts(tmp_path: Path) -> None:
    assert part_paths(f"{tmp_path}/a.csv") == []
    assert part_paths(f"{tmp_path}/missing/") == []
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="name a folder that is one"):
        part_paths(f"{tmp_path}/file/a.csv")
    assert not locked(f"{tmp_path}/a.csv")
    with pytest.raises(OutputError, match="name a folder that is one"):
        locked(f"{tmp_path}/file/a.csv")


# What is too much for a file, as for a disk: in a process of its own, since it holds for all files.
FULL = f"""
import resource, sys
from pathlib import Path
from tests.fetcher.crawl.output.test_outputs import fill
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, {resource.RLIM_INFINITY}))
fill(Path(sys.argv[1]))
"""


def fill(folder: Path) -> None:
    """Runs where a file has at most 60,000 bytes, until that is lifted."""
    outputs = open_all(folder, {})
    outputs.write([make_page()])
    before, marks = sizes(folder), outputs.marks
    noise = random.Random(1).randbytes(70_000)
    for _ in range(2):
        with pytest.raises(OutputError, match="File too large: name another file"):
            outputs.write([make_page("http://example.com/a"), make_page("http://e.com/b", noise)])
        after = sizes(folder)
        assert {name: after[name] for name in before} == before
        assert outputs.marks == marks
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    outputs.write([make_page("http://example.com/a"), make_page("http://e.com/b", noise)])
    outputs.close()


def test_what_does_not_fit_is_cut_back_and_written_when_there_is_room(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], check=True, timeout=30)
    for path in ("pages.jsonl", "pages.csv", "crawl.warc.gz", "crawl.warc", "site/index.jsonl"):
        assert urls(tmp_path / path) == [
            "http://example.com/",
            "http://example.com/a",
            "http://e.com/b",
        ]
    for name in ("crawl.warc.gz", "crawl.warc"):
        verify_file(f"{tmp_path}/{name}")


def test_a_process_may_be_killed_at_any_time_and_each_page_is_there_once(tmp_path: Path) -> None:
    paths = [f"{tmp_path}/{name}" for name in ("pages.jsonl", "pages.csv", "c.warc.gz", "site/")]
    marks = tmp_path / "marks"
    draw = random.Random(11)
    for kill in range(KILLS):
        command = [sys.executable, "-m", "tests.fetcher.crawl.output.writing", str(marks)]
        with subprocess.Popen([*command, str(kill), *paths], stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            for _ in range(draw.randrange(1, 12)):
                assert child.stdout.readline()
            # A little further, as far as this takes.
            sum(range(draw.randrange(200_000)))
            child.kill()
    state = load(marks)
    outputs = open_outputs(paths, state)
    write_batch(outputs, state)
    outputs.close()
    assert state.done > KILLS
    expected = [f"http://example.com/{number}" for number in range(state.done)]
    for path in paths:
        found = []
        for file in part_paths(path):
            assert os.path.getsize(file) == state.marks[f"m:{file}"].bytes
            found += urls(file)
            if file.endswith(".gz"):
                verify_file(file)
                subprocess.run(["gzip", "-t", file], check=True)
        assert found == expected
    for line in (tmp_path / "site/index.jsonl").read_bytes().splitlines():
        entry = json.loads(line)
        assert not entry["file"] or (tmp_path / "site" / entry["file"]).stat().st_size
