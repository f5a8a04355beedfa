"""Writes pages for ever, as a process of a crawl does, and says so; it is there to be killed.

    python -m tests.fetcher.crawl.output.writing MARKS SEED PATH...

MARKS is a file that stands for Redis. For each batch a line is printed, and one in the midst of it.
"""

import random
import sys
from pathlib import Path

import msgspec

from fetcher.crawl.model import Mark, Page
from fetcher.crawl.output.outputs import Outputs
from tests.fetcher.crawl.output.pages import OPTIONS, make_page

BATCH = 7
ROTATE = 60_000


class State(msgspec.Struct):
    """What Redis would know."""

    marks: dict[str, Mark] = {}
    done: int = 0  # pages, which are numbered


def load(path: Path) -> State:
    return msgspec.json.decode(path.read_bytes(), type=State) if path.exists() else State()


def store(path: Path, state: State) -> None:
    """At once and whole, as by a script."""
    new = path.with_suffix(".new")
    new.write_bytes(msgspec.json.encode(state))
    new.replace(path)


def numbered(number: int) -> Page:
    """Of every ten some are chunked, and some bodies are the same."""
    draw = random.Random(number)
    body = draw.randbytes(draw.choice((0, 10, 1_000, 20_000))) if number % 10 else b"the same"
    return make_page(f"http://example.com/{number}", body, started=1.7e9 + number)


def open_outputs(paths: list[str], state: State) -> Outputs:
    outputs = Outputs.open(
        paths,
        state.marks,
        name="c",
        machine="m",
        options=msgspec.structs.replace(OPTIONS, rotate=ROTATE),
        software="fetchpool/1",
    )
    state.marks |= outputs.marks
    return outputs


def write_batch(outputs: Outputs, state: State) -> None:
    pages = [numbered(number) for number in range(state.done, state.done + BATCH)]
    state.marks |= {key: after for key, (_, after) in outputs.write(pages).items()}
    state.done += BATCH


def main() -> None:
    marks, paths = Path(sys.argv[1]), sys.argv[3:]
    draw = random.Random(sys.argv[2])
    state = load(marks)
    outputs = open_outputs(paths, state)
    store(marks, state)
    while True:
        sys.stdout.write("batch\n")
        sys.stdout.flush()
        write_batch(outputs, state)
        if draw.random() < 0.5:
            sys.stdout.write("written\n")
            sys.stdout.flush()
        store(marks, state)


if __name__ == "__main__":
    main()
