"""What the options of `crawl` and `crawls` ask for: a crawl's own options, and what is done to one.

A decision module: what the machine says (folder, files, time) is handed in. What is wrong is a
`TaskError` that names the option.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import msgspec

from fetcher.crawl.model import NAME, Options
from fetcher.errors import FetchpoolError, TaskError
from fetcher.pattern import compile_pattern
from fetcher.settings import check_route
from fetcher.urls import fit_url, loggable

STDIN: Final = "-"
MAX_PATTERN: Final = 10_000  # characters

# What `crawls set` can change while a crawl runs: what it decides anew for each page.
CHANGEABLE: Final = (
    "limit", "limit_host", "time_limit", "size_limit", "depth", "follow", "exclude", "delay",
    "concurrency", "retries", "timeout", "proxy", "user_agent",
)  # fmt: skip

# A name that looks like one of a file is taken for one, whether the file is there or not.
_FILE: Final = re.compile(r".*\.(?:txt|csv|tsv|zip|gz|xml|json|jsonl|lst|list|urls?|warc)", re.I)
_CALLBACK: Final = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*:[^\W\d]\w*(?:\.[^\W\d]\w*)*")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_NOT_IN_NAME: Final = re.compile(r"[^A-Za-z0-9_.-]+")
MOST_OF_A_NAME: Final = 99  # names made of the same source in the same minute
_LONGEST_STEM: Final = 64 - len("-1130-0712-99")
_WARC: Final = (".warc", ".warc.gz")

Verb = Literal["list", "show", "pause", "continue", "stop", "set", "why", "audit", "remove"]


class CannotBegin(FetchpoolError, ValueError):
    """What it is to read, call or write cannot be had; the text says what is wrong."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A run of `crawl`: one of `options` (a new crawl), `resume`, `join`, or `replay` with
    `options` that say what becomes of its pages."""

    name: str  # of the crawl, whichever
    is_given: bool = True  # or the name was made, and stands for those of `build_names`
    options: Options | None = None
    resume: bool = False
    join: bool = False
    replay: str | None = None  # absolute path of a WARC
    report: str | None = None  # absolute path
    workers: int = 1
    quiet: bool = False


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A run of `crawls`."""

    verb: Verb
    name: str = ""  # of the crawl; "" for `list`
    url: str = ""  # fit; for `why`
    files: tuple[str, ...] = ()  # absolute paths; for `audit`, () is all that the crawl wrote
    changes: dict[str, Any] = {}  # by fields of `Options`; for `set`
    form: Literal["text", "json"] = "text"


class Surroundings(msgspec.Struct, frozen=True):
    """What the words of a command line refer to."""

    now: datetime  # local
    place: Callable[[str], str]  # a path as it is called from everywhere
    is_file: Callable[[str], bool]


def build_wanted(
    sources: Sequence[str],
    given: Mapping[str, Any],
    around: Surroundings,
    *,
    workers: int = 1,
) -> Wanted:
    """What `crawl` shall do. `given` are the options that were written, by their names in `Options`
    and `Wanted`. Raises `TaskError`."""
    given = dict(given)
    resume, join = given.pop("resume", None), given.pop("join", None)
    name, replay = given.pop("name", None), given.pop("replay", None)
    report = given.pop("report", None)
    common: dict[str, Any] = {
        "report": None if report is None else around.place(report),
        "workers": workers,
        "quiet": given.pop("quiet", False),
    }
    if resume is not None or join is not None:
        if resume is not None and join is not None:
            raise TaskError("--resume and --join: expected one of them")
        word, known = ("--resume", resume) if join is None else ("--join", join)
        _refuse_more(word, sources, given, name, replay)
        is_resumed = join is None
        return Wanted(
            name=check_name(known, word), resume=is_resumed, join=not is_resumed, **common
        )
    if replay is not None:
        return _build_replay(replay, sources, given, name, around, common)
    if not sources:
        raise TaskError("SOURCE: expected a page's URL, a file of URLs, or - for standard input")
    options = build_options(sources, given, around)
    if name is None:
        made = build_name(sources[0], around.now)
        return Wanted(name=made, is_given=False, options=options, **common)
    return Wanted(name=check_name(name, "--name"), options=options, **common)


def _refuse_more(
    word: str,
    sources: Sequence[str],
    given: Mapping[str, Any],
    name: str | None,
    replay: str | None,
) -> None:
    if sources:
        raise TaskError(f"{word} goes on with the crawl's own sources: leave out {sources[0]!r}")
    if name is not None or replay is not None:
        raise TaskError(f"{word} and --{'name' if replay is None else 'replay'}: expected one")
    if given:
        option = spell(next(iter(given)))
        raise TaskError(
            f"{word} goes on with the crawl's own options, and {option} is one of them:"
            " `crawls set` changes what can be changed"
        )


def _build_replay(
    replay: str,
    sources: Sequence[str],
    given: Mapping[str, Any],
    name: str | None,
    around: Surroundings,
    common: Mapping[str, Any],
) -> Wanted:
    if sources:
        raise TaskError(f"--replay reads its pages from the archive: leave out {sources[0]!r}")
    if "callback" not in given:
        raise TaskError("--replay runs a callback over an archive: give it --callback")
    for field in given:
        if field not in ("callback", "out", "text", "concurrency"):
            raise TaskError(f"--replay asks nothing of the network: {spell(field)} has no meaning")
    path = around.place(replay)
    if not around.is_file(path):
        raise TaskError(f"--replay: {replay}: there is no such file")
    name = build_name(replay, around.now) if name is None else check_name(name, "--name")
    options = build_options((), given, around)
    return Wanted(name=name, options=options, replay=path, **common)


def build_options(
    sources: Sequence[str], given: Mapping[str, Any], around: Surroundings
) -> Options:
    """The options of a new crawl. Raises `TaskError`."""
    fields = dict(given)
    _check_fields(fields)
    fields["out"] = tuple(_read_out(path, around) for path in fields.get("out", ()))
    places = fields["out"]
    for place in places:
        if places.count(place) > 1:
            raise TaskError(f"--out: {place} is given twice")
    if fields.get("rotate") and not any(place.endswith(_WARC) for place in places):
        raise TaskError("--rotate: only WARC files are rotated: give it --out FILE.warc.gz")
    if fields.get("text") and not any(".jsonl" in place for place in places):
        raise TaskError("--text: only JSONL has the text: give it --out FILE.jsonl")
    if fields.get("render") and any(place.endswith(_WARC) for place in places):
        raise TaskError("--render: a WARC file holds what came over the wire: take another --out")
    if fields.get("render") and fields.get("cache") is not None:
        raise TaskError("--render: --cache keeps pages as they came over the wire: leave it out")
    if fields.get("limit_host", 0) > fields.get("limit", 0) > 0:
        raise TaskError("--limit-host: expected no more than --limit")
    read = tuple(read_source(source, around) for source in sources)
    if read.count(STDIN) > 1:
        raise TaskError("-: standard input can be read once")
    return Options(sources=read, **fields)


def build_changes(given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `Options` that `crawls set` changes. Raises `TaskError`."""
    if not given:
        words = ", ".join(map(spell, CHANGEABLE))
        raise TaskError(f"nothing to set: expected at least one of {words}")
    _check_fields(given)
    return dict(given)


def apply_changes(options: Options, changes: Mapping[str, Any]) -> Options:
    """`options` with what `build_changes` gave. Patterns of --exclude come on top of those that
    are there, an empty one takes all away; an empty --follow too."""
    fields = dict(changes)
    if "exclude" in fields:
        exclude = list(options.exclude)
        for pattern in fields["exclude"]:
            if not pattern:
                exclude = []
            elif pattern not in exclude:
                exclude.append(pattern)
        fields["exclude"] = tuple(exclude)
    if "follow" in fields:
        fields["follow"] = fields["follow"] or None
    return msgspec.structs.replace(options, **fields)


def _check_fields(fields: Mapping[str, Any]) -> None:
    for field, patterns in (
        ("follow", (fields.get("follow", ""),)),
        ("exclude", fields.get("exclude", ())),
    ):
        for pattern in patterns:
            _check_pattern(spell(field), pattern)
    if "proxy" in fields:
        try:
            check_route(spell("proxy"), fields["proxy"])
        except ValueError as error:
            raise TaskError(str(error)) from None
    if _CONTROL.search(fields.get("user_agent", "")):
        raise TaskError("--user-agent: expected one line of text without control characters")
    callback = fields.get("callback")
    if callback is not None and not _CALLBACK.fullmatch(callback):
        raise TaskError(
            f"--callback: expected module:function, such as myproject.pages:read, got {callback!r}"
        )


def _check_pattern(option: str, pattern: str) -> None:
    if len(pattern) > MAX_PATTERN:
        raise TaskError(f"{option}: longer than {MAX_PATTERN:,} characters")
    try:
        compile_pattern(pattern)
    except ValueError as error:
        raise TaskError(f"{option} {pattern!r}: {error}") from None


def _read_out(path: str, around: Surroundings) -> str:
    """Where it is; a "/" at the end says that it is a directory and stays."""
    if path in ("", STDIN):
        raise TaskError("--out: expected a file or a directory: several processes write to it")
    return around.place(path) + ("/" if path.endswith("/") else "")


def read_source(text: str, around: Surroundings) -> str:
    """A source as every process can use it: a fit URL, the absolute path of a file, or "-".

    Without a scheme it is a file if there is one, or if it is spelled like one; else a host's page.
    Raises `TaskError`.
    """
    if text == STDIN:
        return text
    if "://" not in text:
        if around.is_file(around.place(text)):
            return around.place(text)
        if _FILE.fullmatch(text) or text.startswith((".", "/", "~")) or not text.strip():
            raise TaskError(f"{text}: there is no such file")
    try:
        return fit_url(text)
    except TaskError as error:
        raise TaskError(f"{loggable(text)}: neither a file nor a page: {error}") from None


def build_name(source: str, now: datetime) -> str:
    """A name for the crawl of `source`: ``example.com-1130-0712``, with month, day and time."""
    if source == STDIN:
        stem = "stdin"
    elif "://" in source:
        stem = urlsplit(fit_url(source)).hostname or ""
    else:
        stem = PurePosixPath(source).name
        while _FILE.fullmatch(stem):
            stem = stem.rpartition(".")[0]
    stem = _NOT_IN_NAME.sub("-", stem)[:_LONGEST_STEM].strip("-._")
    return f"{stem or 'crawl'}-{now:%m%d-%H%M}"


def build_names(wanted: Wanted) -> Iterator[str]:
    """What a new crawl may be called, the best first: as it was said, or else whatever is free."""
    yield wanted.name
    if not wanted.is_given:
        for number in range(2, MOST_OF_A_NAME + 1):
            yield f"{wanted.name}-{number}"


def check_name(name: str, option: str) -> str:
    """`name` if a crawl can be called so. Raises `TaskError`."""
    if not NAME.fullmatch(name):
        raise TaskError(
            f"{option}: expected up to 64 letters, digits, dots, dashes and underscores that begin"
            f" with a letter or digit, got {name[:100]!r}"
        )
    return name


def spell(field: str) -> str:
    """``limit_host`` -> ``--limit-host``, ``as_`` -> ``--as``."""
    return "--" + field.strip("_").replace("_", "-")
