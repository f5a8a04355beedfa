from fetcher.crawl.findings import (
    MAX_EXAMPLES,
    VIOLATIONS,
    Finding,
    Findings,
    Gap,
    describe_gap,
    render,
    slack_of,
)


def test_nothing_is_violated_unless_something_is() -> None:
    assert Findings().ok
    for kind in VIOLATIONS:
        findings = Findings()
        findings.violations[kind].add("it")
        assert not findings.ok
        assert Findings().ok  # they share nothing


def test_examples_are_few_and_all_are_counted() -> None:
    finding = Finding()
    for number in range(MAX_EXAMPLES + 2):
        finding.add(str(number))
        assert len(finding.examples) == min(number + 1, MAX_EXAMPLES)
    assert (finding.number, finding.examples[-1]) == (MAX_EXAMPLES + 2, str(MAX_EXAMPLES - 1))


def test_a_gap_is_as_much_too_long_as_it_is() -> None:
    gap = Gap("a.example", 0.5, 1.0)
    assert slack_of(gap) == -0.5
    assert describe_gap(gap) == "a.example: 0.500 s where 1 s had to lie"


def test_a_clean_output_is_told_in_numbers() -> None:
    findings = Findings(records=1200, marks=1, parts=1)
    assert render(findings) == [
        "1,200 records in 1 part, 1 done mark",
        "nothing is violated",
    ]
    findings.gaps, findings.nearest = 1, Gap("a.example", 1.25, 1.0)
    findings.judged, findings.unjudged = 2, 3
    findings.tails.add("a.jsonl waits")
    assert render(findings)[1:] == [
        "1 gap between starts measured, the nearest of a.example: 1.250 s where 1 s had to lie;"
        " redirects and robots.txt have no record and are not measured",
        "2 pages judged by the robots.txt of then, 3 not: its text is not known any more",
        "a.jsonl waits",
        "nothing is violated",
    ]


def test_a_violation_is_told_with_examples() -> None:
    findings = Findings()
    findings.violations["double"].add("one")
    for number in range(MAX_EXAMPLES + 1):
        findings.violations["hole"].add(f"h{number}")
    assert render(findings) == [
        "0 records in 0 parts, 0 done marks",
        "VIOLATED: 1 page is written more than once",
        "  one",
        "VIOLATED: 21 done marks have no record",
        *(f"  h{number}" for number in range(MAX_EXAMPLES)),
        "  and 1 more",
        "the audit has failed",
    ]
