import pytest

from fetcher.forward.model import Authority, Refused
from fetcher.forward.target import fit_authority, read_authority, refuse_target
from fetcher.model import Trust

PORTS = frozenset({80, 443})
PROHIBITED, DENIED = "destination_ip_prohibited", "http_request_denied"


@pytest.mark.parametrize(
    ("text", "authority"),
    [
        (b"site.test:443", Authority("site.test", 443)),
        (b"SITE.test:1", Authority("site.test", 1)),
        (b"site.test:65535", Authority("site.test", 65535)),
        (b"site.test.:443", Authority("site.test.", 443)),
        (b"127.0.0.1:80", Authority("127.0.0.1", 80)),
        (b"0x7f.1:80", Authority("127.0.0.1", 80)),
        (b"[::1]:443", Authority("::1", 443)),
        (b"[0:0::1]:443", Authority("::1", 443)),
        (b"xn--bcher-kva.test:443", Authority("xn--bcher-kva.test", 443)),
    ],
)
def test_a_target_is_a_host_and_a_port(text: bytes, authority: Authority) -> None:
    assert read_authority(text) == authority


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"site.test",
        b"site.test:",
        b":443",
        b"site.test:0",
        b"site.test:65536",
        b"site.test:443/",
        b"site.test:443:443",
        b"user@site.test:443",
        b"user:pass@site.test:443",
        b"http://site.test:443",
        b"::1:443",
        b"[::1:443",
        b"[::1%25eth0]:443",
        b"site test:443",
        b"site\\test:443",
        b"1.2.3.4.5:443",
        b"site.test:+443",
        b"\xff.test:443" + b"x",
        b"a" * 256 + b":443",
    ],
)
def test_what_is_no_target_is_refused_with_a_sentence(text: bytes) -> None:
    refused = read_authority(text)
    assert isinstance(refused, Refused)
    assert (refused.status, refused.error) == (400, "http_request_error")
    assert refused.sentence.isascii()


def test_a_host_from_socks_is_fitted_too() -> None:
    assert fit_authority("B\xfccher.test", 443) == Authority("xn--bcher-kva.test", 443)
    assert isinstance(fit_authority("site.test", 0), Refused)


@pytest.mark.parametrize(
    ("target", "trust", "ports", "loop", "error"),
    [
        (Authority("site.test", 443), Trust.GUARDED, PORTS, False, None),
        (Authority("site.test", 22), Trust.GUARDED, PORTS, False, DENIED),
        (Authority("site.test", 22), Trust.OPEN, PORTS, False, DENIED),
        (Authority("site.test", 22), Trust.GUARDED, frozenset(), False, None),
        (Authority("site.test", 443), Trust.OPEN, PORTS, True, DENIED),
        (Authority("127.0.0.1", 443), Trust.GUARDED, PORTS, False, PROHIBITED),
        (Authority("127.0.0.1", 443), Trust.OPEN, PORTS, False, None),
        (Authority("::ffff:10.0.0.1", 443), Trust.GUARDED, PORTS, False, PROHIBITED),
        (Authority("router", 443), Trust.GUARDED, PORTS, False, PROHIBITED),
        (Authority("metadata.google.internal", 80), Trust.GUARDED, PORTS, False, PROHIBITED),
    ],
)  # fmt: skip
def test_where_clients_may_be_led(
    target: Authority, trust: Trust, ports: frozenset[int], loop: bool, error: str | None
) -> None:
    refused = refuse_target(target, trust, ports, is_loop=loop)
    assert (refused.error if refused is not None else None) == error
    if refused is not None:
        assert refused.status == 403
