import msgspec
import pytest
from jsonschema import Draft202012Validator

from fetcher.errors import TaskError
from fetcher.http.options import OPTIONS
from fetcher.model import Fetch
from fetcher.rendering import CHROMIUM
from fetcher.task.render import MAX_ACTIONS, MAX_TYPES, RENDERERS, build_render


def test_every_option_has_words_and_none_has_gone() -> None:
    assert list(OPTIONS) == [field.name for field in msgspec.structs.fields(Fetch)]
    assert all(one["description"].endswith(".") for one in OPTIONS.values())
    assert all(name in OPTIONS["fetch_type"]["description"] for name in RENDERERS)


@pytest.mark.parametrize(
    ("name", "value", "is_taken"),
    [
        ("js_wait", "#there", True),
        ("js_wait", 1.5, True),
        ("js_wait", None, True),
        ("js_wait", [1], False),
        ("js_screenshot", True, True),
        ("js_screenshot", "full", True),
        ("js_screenshot", {"a": 1}, False),
        ("js_run_at", "document-start", True),
        ("js_run_at", 5, False),
        ("js_script", "1 + 1", True),
        ("js_script", 5, False),
        ("js_viewport_width", 800, True),
        ("js_viewport_height", "800", True),
        ("js_viewport_height", [1], False),
        ("js_capture", "xhr", True),
        ("js_capture", ["xhr"] * MAX_TYPES, True),
        ("js_capture", ["xhr"] * (MAX_TYPES + 1), False),
        ("js_block", 5, False),
        ("js_actions", [{"wait": 1}] * MAX_ACTIONS, True),
        ("js_actions", [{"wait": 1}] * (MAX_ACTIONS + 1), False),
        ("js_actions", [{"scroll": 100}, {"click": "a"}, {"type": "q", "text": "b"}], True),
        ("js_actions", [{"click": 5}], False),
        ("js_actions", ["click"], False),
    ],
)
def test_what_is_said_of_a_rendering_is_what_it_takes(
    name: str, value: object, is_taken: bool
) -> None:
    assert Draft202012Validator(OPTIONS[name]).is_valid(value) is is_taken
    try:
        build_render(msgspec.convert({name: value}, Fetch), CHROMIUM)
    except TaskError:
        assert not is_taken
    else:
        assert is_taken
