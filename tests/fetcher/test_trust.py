import pytest

from fetcher.model import Trust
from fetcher.trust import next_trust

OPEN, GUARDED = Trust.OPEN, Trust.GUARDED


@pytest.mark.parametrize(
    ("trust", "came_from", "address", "allow_private", "expected"),
    [
        # Direct: the socket's address decides, whatever the name.
        (OPEN, "http://example.com/", "93.184.216.34", True, GUARDED),
        (OPEN, "http://example.com/", "10.0.0.1", True, OPEN),
        (OPEN, "http://localhost/", "93.184.216.34", True, GUARDED),
        (OPEN, "http://127.0.0.1/", "127.0.0.1", True, OPEN),
        (OPEN, "http://[::ffff:127.0.0.1]/", "::ffff:127.0.0.1", True, OPEN),
        (OPEN, "http://example.com/", "93.184.216.34", False, GUARDED),
        # Through a proxy: only the spelling is known.
        (OPEN, "http://example.com/", None, True, GUARDED),
        (OPEN, "http://example.com/", "", True, GUARDED),
        (OPEN, "http://8.8.8.8/", None, True, GUARDED),
        (OPEN, "http://10.0.0.1/", None, True, OPEN),
        (OPEN, "http://0x7f.1/", None, True, OPEN),
        (OPEN, "http://localhost:80/", None, True, OPEN),
        (OPEN, "http://intranet/", None, True, OPEN),
        (OPEN, "http://[::1]/", None, True, OPEN),
        # The operator trusts public sites too.
        (OPEN, "http://example.com/", "93.184.216.34", "all", OPEN),
        (OPEN, "http://example.com/", None, "all", OPEN),
    ],
)
def test_a_public_site_may_not_lead_a_task_inside(
    trust: Trust, came_from: str, address: str | None, allow_private: bool | str, expected: Trust
) -> None:
    assert (
        next_trust(trust, came_from=came_from, address=address, allow_private=allow_private)
        is expected
    )


@pytest.mark.parametrize("address", ["127.0.0.1", "8.8.8.8", None])
@pytest.mark.parametrize("allow_private", [True, False, "all"])
def test_trust_once_lost_does_not_come_back(address: str | None, allow_private: bool | str) -> None:
    trust = next_trust(
        GUARDED, came_from="http://localhost/", address=address, allow_private=allow_private
    )
    assert trust is GUARDED
