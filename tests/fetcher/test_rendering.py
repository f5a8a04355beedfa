import msgspec
import pytest

from fetcher.rendering import IDLE, Captured, Click, Render, Scroll, Type, Wait


def test_a_page_is_seen_as_by_pyspiders_renderers_unless_something_else_is_asked_for() -> None:
    render = Render(kind="chromium")
    assert (render.width, render.height) == (1024, 2304)
    assert render.run_at == "document-end"
    assert render.wait == IDLE
    assert render.screenshot is None
    assert not (render.images or render.capture or render.block or render.actions)


@pytest.mark.parametrize(
    "value",
    [
        Render(kind="chromium"),
        IDLE,
        Scroll("bottom"),
        Click("#more"),
        Type("#q", "x"),
        Captured(url="http://h/", status=200, type="", content=b""),
    ],
)
def test_what_is_asked_and_what_came_cannot_be_changed_by_who_carries_it_out(value) -> None:
    name = value.__struct_fields__[0]
    with pytest.raises(AttributeError):
        setattr(value, name, None)


def test_what_was_captured_is_told_by_name() -> None:
    one = Captured(url="http://h/", status=200, type="text/plain", content=b"x")
    assert msgspec.to_builtins(one, builtin_types=(bytes,)) == {
        "url": "http://h/",
        "status": 200,
        "type": "text/plain",
        "content": b"x",
        "cut": False,
    }


def test_a_wait_of_no_time_is_for_what_its_word_says() -> None:
    assert Wait("load").seconds == 0.0
