import pytest

from fetcher.crawl.output.names import (
    Kind,
    OutputError,
    find_parts,
    kind_of,
    part_path,
    rotated_path,
)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/d/pages.jsonl", "jsonl"),
        ("/d/PAGES.JSONL", "jsonl"),
        ("/d/pages.csv", "csv"),
        ("/d/crawl.warc.gz", "warc"),
        ("/d/crawl.v2.warc", "warc"),
        ("/d/site", "folder"),
        ("/d.x/site", "folder"),
        ("/d/site/", "folder"),
        ("/d/example.com/", "folder"),
        ("/d/pages.jsonl/", "folder"),
    ],
)
def test_the_ending_names_the_format(path: str, expected: Kind) -> None:
    assert kind_of(path) == expected


@pytest.mark.parametrize("ending", [".txt", ".gz", ".json", ".warc.zst"])
def test_an_unknown_ending_is_refused_and_the_known_ones_are_named(ending: str) -> None:
    with pytest.raises(OutputError) as refusal:
        kind_of(f"/d/pages{ending}")
    for word in ("." + ending.rpartition(".")[2], ".jsonl", ".csv", ".warc.gz", "/"):
        assert word in str(refusal.value)


@pytest.mark.parametrize(
    ("path", "number", "expected"),
    [
        ("/d/pages.jsonl", 1, "/d/pages.jsonl"),
        ("/d/pages.jsonl", 2, "/d/pages.2.jsonl"),
        ("/d/crawl.WARC.gz", 3, "/d/crawl.3.WARC.gz"),
        ("/d/site/", 1, "/d/site/index.jsonl"),
        ("/d/site", 2, "/d/site/index.2.jsonl"),
    ],
)
def test_a_part_has_its_number_before_the_ending(path: str, number: int, expected: str) -> None:
    assert part_path(path, number) == expected


@pytest.mark.parametrize(
    ("part", "sequence", "expected"),
    [
        ("/d/crawl.warc.gz", 0, "/d/crawl.warc.gz"),
        ("/d/crawl.warc.gz", 1, "/d/crawl-00001.warc.gz"),
        ("/d/crawl.2.warc.gz", 1, "/d/crawl.2-00001.warc.gz"),
        ("/d/crawl.warc.gz", 100_000, "/d/crawl-100000.warc.gz"),
    ],
)
def test_a_rotated_file_has_its_number_behind_its_part_s(
    part: str, sequence: int, expected: str
) -> None:
    assert rotated_path(part, sequence) == expected


def test_the_files_of_an_output_are_told_from_their_neighbours() -> None:
    names = [
        *("crawl.10.warc.gz", "crawl.2-00001.warc.gz", "crawl-00002.warc.gz", "crawl.warc.gz"),
        *("crawl-00001.warc.gz", "crawl.2.warc.gz", "crawl.1.warc.gz", "crawl.02.warc.gz"),
        *("crawl-1.warc.gz", "crawl2.warc.gz", "crawl.warc", "a.crawl.warc.gz", "crawl.x.warc.gz"),
    ]
    assert find_parts("/d/crawl.warc.gz", names) == [
        "/d/crawl.warc.gz",
        "/d/crawl-00001.warc.gz",
        "/d/crawl-00002.warc.gz",
        "/d/crawl.2.warc.gz",
        "/d/crawl.2-00001.warc.gz",
        "/d/crawl.10.warc.gz",
    ]
    assert find_parts("/d/site/", ["ab", "index.3.jsonl", "index.jsonl"]) == [
        "/d/site/index.jsonl",
        "/d/site/index.3.jsonl",
    ]
