import msgspec
import pytest

from fetcher.forward.described import TUNNELS
from fetcher.forward.tunnels import LIMIT, LIMIT_MOST

[LIST, _] = [one for route in TUNNELS.routes for one in route.operations]


@pytest.mark.parametrize(
    ("text", "is_taken"),
    [
        ("0", False),
        ("1", True),
        (str(LIMIT_MOST), True),
        (str(LIMIT_MOST + 1), False),
        ("x", False),
        ("", True),
    ],
)
def test_a_list_has_the_limits_that_are_said(text: str, is_taken: bool) -> None:
    [limit] = LIST.parameters
    assert limit.default == LIMIT
    try:
        msgspec.convert(text, limit.type, strict=False)
    except msgspec.ValidationError:
        assert not is_taken
    else:
        assert is_taken
