import pytest

from fetcher.errors import Outcome
from fetcher.model import Response
from fetcher.run.held import DROP, MOST_DROPPED, Held


class Path:
    """Notes what it is told; `hold` is what it wants held, `opens` whether an answer goes on."""

    def __init__(self, hold: int, *, opens: bool = True) -> None:
        self.hold = hold
        self.opens = opens
        self.told: list[tuple[str, bytes]] = []

    def look(self, response: Response) -> int:
        return self.hold

    def open(self, response: Response) -> bool:
        self.told.append(("open", response.body))
        return self.opens

    def pass_on(self, chunk: bytes) -> None:
        self.told.append(("pass on", chunk))

    def cut(self, response: Response) -> None:
        self.told.append(("cut", response.body))

    def answered(self, response: Response) -> None:
        self.told.append(("answered", response.body))

    def ended(self, response: Response) -> None:
        self.told.append(("ended", response.body))


def answer() -> Response:
    return Response(url="http://h/", outcome=Outcome.ANSWERED, status=200)


def told(path: Path, *chunks: bytes) -> list[tuple[str, bytes]]:
    """What the path hears of an answer that comes in these pieces."""
    sink, response = Held(path), answer()
    sink.head(response)
    for chunk in chunks:
        sink.body(chunk)
    sink.done(response)  # a client may well use one response for all
    return path.told


def test_what_nobody_wants_to_see_goes_on_at_once() -> None:
    assert told(Path(0), b"ab", b"c") == [
        ("open", b""), ("pass on", b"ab"), ("pass on", b"c"), ("ended", b""),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ((), [("answered", b"")]),
        ((b"ab",), [("answered", b"ab")]),
        ((b"a", b"b"), [("answered", b"ab")]),
        ((b"abc",), [("open", b"abc"), ("pass on", b"abc"), ("ended", b"")]),
        (
            (b"ab", b"cd", b"e"),
            [("open", b"abcd"), ("pass on", b"abcd"), ("pass on", b"e"), ("ended", b"")],
        ),
    ],
)
def test_three_bytes_are_held_and_a_shorter_answer_is_whole(
    chunks: tuple[bytes, ...], expected: list[tuple[str, bytes]]
) -> None:
    assert told(Path(3), *chunks) == expected


def test_an_answer_that_is_not_taken_is_not_passed_on() -> None:
    path = Path(2, opens=False)
    sink = Held(path)
    sink.head(answer())
    sink.body(b"ab")
    assert path.told == [("open", b"ab")]


@pytest.mark.parametrize(
    ("size", "cut"), [(MOST_DROPPED - 1, False), (MOST_DROPPED, False), (MOST_DROPPED + 1, True)]
)
def test_a_body_for_nobody_is_dropped_and_cut_when_it_is_long(size: int, cut: bool) -> None:
    path = Path(DROP)
    sink = Held(path)
    sink.head(answer())
    sink.body(b"x")
    sink.body(b"x" * (size - 1))
    assert path.told == ([("cut", b"")] if cut else [])
    if not cut:
        sink.done(answer())
        assert path.told == [("answered", b"")]


def test_a_transfer_that_fails_before_its_head_is_told_as_it_is() -> None:
    path = Path(3)
    failed = Response(url="http://h/", outcome=Outcome.TARGET, code=7)
    Held(path).done(failed)
    assert path.told == [("answered", b"")]
