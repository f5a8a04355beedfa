from collections.abc import Sequence
from typing import NamedTuple

import pytest

from fetcher.crawl.audit import TOLERANCE, Auditor, Part, check_robots
from fetcher.crawl.findings import Findings, Gap
from fetcher.crawl.model import Mark, Options, url_id

UA = "mybot/1.0"
ROBOTS = b"User-agent: *\nDisallow: /private\n"


class Read(NamedTuple):
    """A record as a reader gives it."""

    url: str
    end: int
    started: float = 0.0
    delay: float = 1.0
    polite: str = "a.example"
    robots: str = ""
    status_code: int = 200

    @property
    def id(self) -> int:
        return url_id(self.url)


def url(number: int) -> str:
    return f"http://a.example/{number}"


def build(*parts: Part, robots: bool = True) -> Auditor:
    named = {f"machine:{part.path}": part for part in parts}
    return Auditor(Options(sources=(), robots=robots), named, UA)


def part(records: int, path: str = "a.jsonl", size: int | None = -1) -> Part:
    """One that is as long as its mark, ten bytes a record, unless `size` says otherwise."""
    size = records * 10 if size == -1 else size
    return Part(path=path, size=size, mark=Mark(records * 10, records))


def audit(reads: Sequence[Read], done: Sequence[str] | None = None) -> Findings:
    auditor = build(part(len(reads)))
    for read in reads:
        auditor.add("machine:a.jsonl", read)
    auditor.add_done(
        url_id(one) for one in ([read.url for read in reads] if done is None else done)
    )
    return auditor.finish()


def violated(findings: Findings) -> dict[str, list[str]]:
    found = {kind: one.examples for kind, one in findings.violations.items() if one.number}
    assert findings.ok is not bool(found)
    return found


def test_a_clean_output_is_clean() -> None:
    findings = audit([Read(url(n), (n + 1) * 10, started=100.0 + n) for n in range(1000)])
    assert violated(findings) == {}
    assert (findings.records, findings.marks, findings.parts) == (1000, 1000, 1)
    assert (findings.gaps, findings.nearest) == (999, Gap("a.example", 1.0, 1.0))


def test_nothing_at_all_is_clean() -> None:
    assert violated(build().finish()) == {}


# -- records and marks -----------------------------------------------------------------------------


def test_a_page_that_is_there_twice_is_named_with_both_places() -> None:
    auditor = build(part(2), part(1, "a.2.jsonl"))
    auditor.add("machine:a.jsonl", Read(url(1), 10))
    auditor.add("machine:a.jsonl", Read(url(2), 20))
    auditor.add("machine:a.2.jsonl", Read(url(1), 10))
    auditor.add_done([url_id(url(1)), url_id(url(2))])
    assert violated(auditor.finish()) == {
        "double": [f"{url_id(url(1)):016x} at a.jsonl:10 and a.2.jsonl:10"]
    }


def test_a_page_that_is_there_three_times_is_two_too_many() -> None:
    findings = audit([Read(url(1), 10), Read(url(1), 20), Read(url(1), 30)])
    assert findings.violations["double"].number == 2


def test_a_mark_without_a_record_is_a_hole() -> None:
    findings = audit([Read(url(1), 10)], [url(1), url(2)])
    assert violated(findings) == {"hole": [f"{url_id(url(2)):016x}"]}


def test_where_other_parts_are_not_looked_at_a_mark_without_a_record_is_none() -> None:
    given = part(1)
    auditor = Auditor(Options(sources=()), {"key": given}, "bot", is_whole=False)
    auditor.add("key", Read(url(1), 10))
    auditor.add_done([url_id(url(1)), url_id(url(2))])
    assert violated(auditor.finish()) == {}


def test_a_record_without_a_mark_is_a_stranger() -> None:
    findings = audit([Read(url(1), 10), Read(url(2), 20)], [url(1)])
    assert violated(findings) == {"stranger": [f"{url_id(url(2)):016x} at a.jsonl:20"]}


def test_what_got_no_answer_is_no_page_and_has_no_mark() -> None:
    reads = [Read(url(1), 10, 100.0, status_code=599), Read(url(2), 20, 100.5)]
    findings = audit(reads, [url(2)])
    assert set(violated(findings)) == {"gap"}  # but it was asked for
    assert findings.records == 2


@pytest.mark.parametrize(
    ("size", "is_locked", "kinds", "tail"),
    [
        (20, False, set(), []),
        (21, False, set(), ["a.jsonl has 1 byte behind its mark: it waits for its next writer"]),
        (21, True, set(), ["a.jsonl has 1 byte behind its mark: it is being written"]),
        (19, False, {"short"}, []),
        (None, False, {"missing"}, []),
    ],
)
def test_a_part_is_as_long_as_its_mark(
    size: int | None, is_locked: bool, kinds: set[str], tail: list[str]
) -> None:
    auditor = build(Part(path="a.jsonl", size=size, mark=Mark(20, 2), is_locked=is_locked))
    for number in (1, 2):
        auditor.add("machine:a.jsonl", Read(url(number), number * 10))
    auditor.add_done([url_id(url(1)), url_id(url(2))])
    findings = auditor.finish()
    assert set(violated(findings)) == kinds
    assert findings.tails.examples == tail


def test_what_lies_behind_a_mark_does_not_count() -> None:
    auditor = build(part(1, size=35), Part(path="new.jsonl", size=5))
    for read in (Read(url(1), 10), Read(url(1), 11), Read(url(2), 35)):
        auditor.add("machine:a.jsonl", read)
    auditor.add("machine:new.jsonl", Read(url(3), 5))
    auditor.add_damage("machine:a.jsonl", 10, "torn")
    auditor.add_done([url_id(url(1))])
    findings = auditor.finish()
    assert violated(findings) == {}
    assert (findings.records, findings.tails.number) == (1, 2)


def test_damage_before_a_mark_is_named() -> None:
    auditor = build(part(1))
    auditor.add("machine:a.jsonl", Read(url(1), 10))
    auditor.add_damage("machine:a.jsonl", 9, "a torn line")
    auditor.add_done([url_id(url(1))])
    assert violated(auditor.finish()) == {"damage": ["a.jsonl: byte 9: a torn line"]}


@pytest.mark.parametrize("records", [1, 3])
def test_a_part_has_as_many_records_as_its_mark_says(records: int) -> None:
    auditor = build(Part(path="a.jsonl", size=30, mark=Mark(30, records)))
    for number in (1, 2):
        auditor.add("machine:a.jsonl", Read(url(number), number * 10))
    auditor.add_done([url_id(url(1)), url_id(url(2))])
    assert violated(auditor.finish()) == {"number": [f"a.jsonl has 2, and its mark says {records}"]}


# -- politeness ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gap", "delay", "is_violated"),
    [
        (1.0, 1.0, False),
        (1.0 - TOLERANCE + 0.001, 1.0, False),
        (1.0 - TOLERANCE - 0.001, 1.0, True),
        (0.0, 1.0, True),
        (0.0, 0.0, False),
        (0.0, TOLERANCE, False),
        (29.0, 30.0, True),
    ],
)
def test_starts_lie_as_far_apart_as_they_have_to(
    gap: float, delay: float, is_violated: bool
) -> None:
    # In an order in which no crawl would write them.
    reads = [Read(url(2), 10, 1e9 + gap, delay), Read(url(1), 20, 1e9, 0.0)]
    findings = audit(reads)
    shown = [f"a.example: {gap:.3f} s where {delay:g} s had to lie, at a.jsonl:20 and a.jsonl:10"]
    assert violated(findings) == ({"gap": shown} if is_violated else {})
    assert findings.gaps == 1


def test_only_who_shares_a_delay_waits_for_each_other() -> None:
    reads = [Read(url(n), (n + 1) * 10, 1e9, polite=f"{n}.example") for n in range(500)]
    findings = audit(reads)
    assert violated(findings) == {}
    assert (findings.gaps, findings.nearest) == (0, None)


def test_what_has_no_start_is_not_measured() -> None:
    findings = audit(
        [Read(url(1), 10, 0.0), Read(url(2), 20, 0.0), Read(url(3), 30, 5.0, polite="")]
    )
    assert (violated(findings), findings.gaps) == ({}, 0)


def test_the_nearest_is_the_one_with_the_least_to_spare() -> None:
    reads = [
        *(Read(url(1), 10, 100.0), Read(url(2), 20, 103.0)),
        *(Read(url(3), 30, 100.0, 0.1, "b.example"), Read(url(4), 40, 100.5, 0.1, "b.example")),
        *(Read(url(5), 50, 100.0, 0.1, "c.example"), Read(url(6), 60, 109.5, 0.1, "c.example")),
    ]
    assert audit(reads).nearest == Gap("b.example", 0.5, 0.1)


# -- robots ----------------------------------------------------------------------------------------


def judge(read: Read, *, robots: bool = True) -> Findings:
    auditor = build(part(1), robots=robots)
    auditor.add_robots("http://a.example/robots.txt", "12345678", ROBOTS)
    auditor.add("machine:a.jsonl", read)
    auditor.add_done([read.id])
    return auditor.finish()


@pytest.mark.parametrize(
    ("path", "version", "numbers", "is_violated"),
    [
        ("/public", "12345678", (1, 0), False),
        ("/private", "12345678", (1, 0), True),
        ("/private", "87654321", (0, 1), False),  # another text allowed it, and is not known
        ("/private", "", (0, 0), False),
    ],
)
def test_a_page_is_judged_by_the_robots_txt_that_it_names(
    path: str, version: str, numbers: tuple[int, int], is_violated: bool
) -> None:
    page = f"http://a.example{path}"
    findings = judge(Read(page, 10, robots=version))
    shown = {"robots": [f"{page} at a.jsonl:10, by 12345678"]} if is_violated else {}
    assert violated(findings) == shown
    assert (findings.judged, findings.unjudged) == numbers


def test_other_hosts_have_other_rules_and_who_obeys_none_breaks_none() -> None:
    assert violated(judge(Read("http://b.example/private", 10, robots="12345678"))) == {}
    read = Read("http://a.example/private", 10, robots="12345678")
    assert violated(judge(read, robots=False)) == {}


def test_a_robots_txt_is_asked_as_a_crawl_asks_it() -> None:
    text = b"User-agent: mybot\nDisallow: /a\n\nUser-agent: *\nDisallow: /\n"
    assert not check_robots("http://a.example/a", text, UA)
    assert check_robots("http://a.example/b", text, UA)
    assert not check_robots("http://a.example/b", text, "other/1")
    assert check_robots("http://a.example/robots.txt", text, "other/1")


def test_all_kinds_of_damage_together_are_all_told() -> None:
    short = Part(path="a.jsonl", size=25, mark=Mark(30, 4))
    auditor = build(short, part(1, "gone.jsonl", size=None))
    auditor.add_robots("http://a.example/robots.txt", "1", ROBOTS)
    for read in (
        Read(url(1), 10, 100.0),
        Read(url(1), 20, 100.5),
        Read("http://a.example/private", 25, 200.0, robots="1"),
    ):
        auditor.add("machine:a.jsonl", read)
    auditor.add_damage("machine:a.jsonl", 25, "a torn line")
    auditor.add_done([url_id(url(1)), url_id(url(2))])
    found = set(violated(auditor.finish()))
    assert found == set(Findings().violations)
