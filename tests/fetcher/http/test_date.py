"""How a moment is spelled."""

import pytest

from fetcher.http.date import build_date


@pytest.mark.parametrize(
    ("now", "date"),
    [
        (0.0, "Thu, 01 Jan 1970 00:00:00 GMT"),
        (784_111_777.0, "Sun, 06 Nov 1994 08:49:37 GMT"),
        (784_111_777.999, "Sun, 06 Nov 1994 08:49:37 GMT"),
        (784_111_778.0, "Sun, 06 Nov 1994 08:49:38 GMT"),
        (784_111_777.5, "Sun, 06 Nov 1994 08:49:37 GMT"),
    ],
)
def test_a_moment_is_spelled_to_its_second(now: float, date: str) -> None:
    assert build_date(now) == date
