import pytest

from fetcher.forward.own import Own, is_own_address
from fetcher.model import Trust
from fetcher.proxy import parse_proxy


@pytest.mark.parametrize(
    ("address", "own"),
    [
        ("127.0.0.1", True),
        ("127.77.0.1", True),
        ("0.0.0.0", True),
        ("::", True),
        ("2001:db8::1", False),
        ("203.0.113.9", False),
        ("no address", False),
    ],
)
def test_the_kernel_knows_which_addresses_are_ours(address: str, own: bool) -> None:
    assert is_own_address(address) is own


@pytest.mark.parametrize(
    ("host", "port", "loop"),
    [
        ("127.0.0.1", 5556, True),
        ("2130706433", 5556, True),
        ("127.9.9.9", 5556, True),
        ("localhost", 5556, True),
        ("LocalHost.", 5556, True),
        ("127.0.0.1", 5557, False),
        ("203.0.113.9", 5556, False),
        ("site.test", 5556, False),
    ],
)
def test_an_entrance_of_ours_is_known_in_any_spelling(host: str, port: int, loop: bool) -> None:
    own = Own()
    own.ports.add(5556)
    assert own.is_loop(host, port) is loop
    if not host.endswith("."):
        assert own.is_proxy(parse_proxy(f"http://{host}:{port}")) is loop


@pytest.mark.parametrize(
    ("address", "port", "trust", "words"),
    [
        ("127.0.0.1", 80, Trust.GUARDED, "own"),
        ("127.0.0.1", 80, Trust.OPEN, None),
        ("127.0.0.1", 5556, Trust.OPEN, "loop"),
        ("203.0.113.9", 5556, Trust.GUARDED, None),
    ],
)
def test_nobody_is_led_back_to_us(address: str, port: int, trust: Trust, words: str | None) -> None:
    own = Own()
    own.ports.add(5556)
    reason = own.refuse(address, port, trust)
    assert reason is None if words is None else words in str(reason)
