import pytest

from fetcher.client.chromium.flags import WORDS, build_environment, build_flags


@pytest.mark.parametrize(
    ("memory", "more"),
    [
        (0, []),
        (1, ["--js-flags=--max-old-space-size=64"]),
        (1 << 30, ["--js-flags=--max-old-space-size=512"]),
    ],
)
def test_scripts_have_half_of_the_memory(memory: int, more: list[str]) -> None:
    assert build_flags(memory) == [*WORDS, *more]


@pytest.mark.parametrize(
    "word",
    [
        "--proxy-bypass-list=<-loopback>",
        "--webrtc-ip-handling-policy=disable_non_proxied_udp",
        "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
        "--disable-quic",
        "--block-new-web-contents",
    ],
)
def test_no_way_leads_past_the_proxy(word: str) -> None:
    assert word in build_flags(0)
    assert not any("no-sandbox" in one for one in build_flags(0))


def test_the_browser_sees_no_secrets() -> None:
    seen = build_environment({"PATH": "/bin", "AWS_SECRET_ACCESS_KEY": "x", "HOME": "/root"}, "/f")
    assert seen == {"PATH": "/bin", "HOME": "/f", "TMPDIR": "/f", "XDG_CONFIG_HOME": "/f"}
