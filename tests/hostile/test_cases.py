"""No hostile case holds up the loop, takes the memory, or costs a neighbour his page."""

from collections.abc import Callable, Iterator

import pytest

from tests.farm.certificate import make_certificate
from tests.hostile.arena import Measure, Row, measuring
from tests.hostile.table import CASES, NOT_YET

STANDSTILL = 0.5  # seconds; 0.2 on a machine that has nothing else to do
MEMORY = 100_000_000
NEIGHBOUR = 2.0  # seconds, with all that the case takes of the machine


@pytest.fixture(scope="module")
def measure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Measure]:
    certificate = make_certificate(tmp_path_factory.mktemp("tls"), ["127.0.0.1"])
    if certificate is None:
        pytest.skip("there is no program openssl")
    with measuring(tmp_path_factory.mktemp("service"), certificate) as started:
        yield started
        assert started.service.process.poll() is None, started.service.said
        assert "Traceback" not in started.service.said


def is_well(row: Row) -> bool:
    seen = row.seen
    is_served = seen.failed == 0 and seen.neighbour < NEIGHBOUR
    return seen.standstill < STANDSTILL and row.memory < MEMORY and is_served


@pytest.mark.parametrize("name", CASES)
async def test_neither_the_loop_nor_a_neighbour_suffers(
    measure: Measure, name: str, record_property: Callable[[str, object], None]
) -> None:
    row: Row = await measure.run(CASES[name])
    record_property("row", str(row))
    if name in NOT_YET and not is_well(row):
        pytest.xfail(f"{NOT_YET[name]}: {row}")
    assert is_well(row), str(row)


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 200
