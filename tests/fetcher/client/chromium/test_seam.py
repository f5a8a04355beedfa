import inspect

from fetcher.client.chromium import seam
from fetcher.forward.listener import Fate, Listener, Listeners
from fetcher.forward.model import Refused


def members(protocol: type) -> set[str]:
    return {name for name in vars(protocol) if not name.startswith("_")}


def test_the_forward_proxys_listeners_are_what_the_browsers_side_asks_for() -> None:
    for protocol, own in (
        (seam.Listeners, Listeners),
        (seam.Listener, Listener),
        (seam.Fate, Fate),
        (seam.Refusal, Refused),
    ):
        assert members(protocol) <= {*dir(own), *getattr(own, "__struct_fields__", ())}
    asked = inspect.signature(seam.Listeners.open).parameters
    assert list(asked) == list(inspect.signature(Listeners.open).parameters)
