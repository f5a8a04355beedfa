"""With what the browser is started: words of its command line, and its environment.

A decision module. Beside what playwright says anyway, these keep the browser from talking to
anybody of its own accord, and from reaching anything but the listeners of its contexts.
"""

from collections.abc import Mapping
from typing import Final

_NO_UDP: Final = "disable_non_proxied_udp"

WORDS: Final = (
    # Whoever has no context's proxy has none at all: no name is looked up, no socket is opened.
    "--proxy-server=http://nowhere.invalid:1",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--proxy-bypass-list=<-loopback>",  # loopback goes to the proxy, too
    f"--webrtc-ip-handling-policy={_NO_UDP}",
    f"--force-webrtc-ip-handling-policy={_NO_UDP}",
    "--disable-quic",
    "--dns-prefetch-disable",
    "--no-pings",
    "--disable-domain-reliability",
    "--disable-client-side-phishing-detection",
    "--disable-crash-reporter",
    "--block-new-web-contents",  # pop-ups
    "--deny-permission-prompts",
    "--disable-gpu",
    "--disable-notifications",
)

# Of the environment, what a program needs to run; secrets are not among it.
KEPT: Final = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "TZ", "FONTCONFIG_PATH")


def build_flags(memory: int) -> list[str]:
    """`memory`: bytes that the browser may have in all, 0: no limit. Half of it is enough for the
    scripts of one page."""
    limit = [f"--js-flags=--max-old-space-size={max(memory // 2 >> 20, 64)}"] if memory else []
    return [*WORDS, *limit]


def build_environment(variables: Mapping[str, str], folder: str) -> dict[str, str]:
    """What the browser sees of `variables`; what it writes lies in `folder`."""
    kept = {name: variables[name] for name in KEPT if name in variables}
    return {**kept, "HOME": folder, "TMPDIR": folder, "XDG_CONFIG_HOME": folder}
