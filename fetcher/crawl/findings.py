"""What an audit of a crawl's output has come to, and the sentences that say it.

A decision module: numbers, a few examples of each kind, lines of text.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from fetcher.crawl.units import show_count

MAX_EXAMPLES: Final = 20

# By kind: what is wrong, of one and of several.
VIOLATIONS: Final = {
    "damage": ("place is damaged", "places are damaged"),
    "missing": ("part is gone", "parts are gone"),
    "short": ("part is shorter than its mark: data is lost",
              "parts are shorter than their marks: data is lost"),
    "number": ("part has not as many records as its mark says",
               "parts have not as many records as their marks say"),
    "double": ("page is written more than once", "pages are written more than once"),
    "hole": ("done mark has no record", "done marks have no record"),
    "stranger": ("record has no done mark", "records have no done mark"),
    "gap": ("start came too soon after the one before", "starts came too soon after those before"),
    "robots": ("page was fetched against robots.txt", "pages were fetched against robots.txt"),
}  # fmt: skip


class Finding(msgspec.Struct):
    """How often something was found, and the first few."""

    number: int = 0
    examples: list[str] = []

    def add(self, example: str) -> None:
        self.number += 1
        if len(self.examples) < MAX_EXAMPLES:
            self.examples.append(example)


class Gap(msgspec.Struct, frozen=True):
    """The two starts that were nearest to being too near."""

    polite: str
    seconds: float
    delay: float


class Findings(msgspec.Struct, kw_only=True):
    """What the audit has come to."""

    records: int = 0
    marks: int = 0
    parts: int = 0
    gaps: int = 0  # measured
    nearest: Gap | None = None
    judged: int = 0  # by the text of a robots.txt
    unjudged: int = 0  # whose text is not known any more
    tails: Finding = msgspec.field(default_factory=Finding)  # wait for their writer: no violation
    violations: dict[str, Finding] = msgspec.field(
        default_factory=lambda: {kind: Finding() for kind in VIOLATIONS}
    )

    @property
    def ok(self) -> bool:
        return not any(finding.number for finding in self.violations.values())


def slack_of(gap: Gap) -> float:
    """Seconds by which it is longer than it had to be; below 0: shorter."""
    return gap.seconds - gap.delay


def describe_gap(gap: Gap) -> str:
    """``example.com: 0.500 s where 1 s had to lie``."""
    return f"{gap.polite}: {gap.seconds:.3f} s where {gap.delay:g} s had to lie"


def render(findings: Findings) -> list[str]:
    """The findings in sentences: what was looked at, what waits, what is violated, the verdict."""
    records = _many(findings.records, "record", "records")
    lines = [
        f"{records} in {_many(findings.parts, 'part', 'parts')},"
        f" {_many(findings.marks, 'done mark', 'done marks')}"
    ]
    if findings.nearest is not None:
        lines.append(
            f"{_many(findings.gaps, 'gap', 'gaps')} between starts measured, the nearest of"
            f" {describe_gap(findings.nearest)}; redirects and robots.txt have no record and are"
            " not measured"
        )
    if findings.judged or findings.unjudged:
        lines.append(
            f"{_many(findings.judged, 'page', 'pages')} judged by the robots.txt of then,"
            f" {show_count(findings.unjudged)} not: its text is not known any more"
        )
    lines += findings.tails.examples
    lines += _more(findings.tails)
    for kind, finding in findings.violations.items():
        if finding.number:
            lines.append(f"VIOLATED: {_many(finding.number, *VIOLATIONS[kind])}")
            lines += [f"  {example}" for example in finding.examples]
            lines += _more(finding)
    lines.append("nothing is violated" if findings.ok else "the audit has failed")
    return lines


def _many(number: int, one: str, more: str) -> str:
    return f"{show_count(number)} {one if number == 1 else more}"


def _more(finding: Finding) -> Sequence[str]:
    more = finding.number - len(finding.examples)
    return [f"  and {show_count(more)} more"] if more else []
