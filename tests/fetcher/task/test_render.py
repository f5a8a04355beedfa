"""What of a page is to run, to be waited for, done and brought back."""

from typing import Any

import msgspec
import pytest

from fetcher.errors import TaskError
from fetcher.model import Fetch
from fetcher.rendering import (
    CHROMIUM,
    IDLE,
    PHANTOMJS,
    PUPPETEER,
    SPLASH,
    Click,
    Render,
    Scroll,
    Type,
    Wait,
)
from fetcher.task.render import (
    MAX_ACTIONS,
    MAX_HEIGHT,
    MAX_SCRIPT,
    MAX_SCROLL,
    MAX_SELECTOR,
    MAX_TEXT,
    MAX_TYPES,
    MAX_WAIT,
    MAX_WIDTH,
    RENDERERS,
    build_render,
    called,
    explain_absence,
    find_kinds,
    refuse_scripts,
    refuse_unknown_type,
    wants_more,
)

CLICK = {"click": "#more"}


def built(kind: str = CHROMIUM, **options: Any) -> Render:
    return build_render(Fetch(**options), kind)


# -- who renders -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fetch_type", "kinds"),
    [
        (None, ()),
        ("", ()),
        ("foo", ()),
        ("js", (CHROMIUM, PHANTOMJS, PUPPETEER, SPLASH)),
        ("auto", (CHROMIUM, PHANTOMJS, PUPPETEER, SPLASH)),
        ("chromium", (CHROMIUM,)),
        ("phantomjs", (PHANTOMJS, CHROMIUM)),
        ("puppeteer", (PUPPETEER, CHROMIUM)),
        ("splash", (SPLASH, CHROMIUM)),
    ],
)
def test_each_fetch_type_has_its_renderers_in_order(fetch_type, kinds) -> None:
    assert tuple(find_kinds(fetch_type)) == kinds


@pytest.mark.parametrize(
    ("fetch_type", "name"),
    [("js", "phantomjs"), ("JS", "phantomjs"), ("chromium", "chromium"), ("splash", "splash")],
)
def test_who_is_missing_is_called_as_pyspider_calls_him(fetch_type: str, name: str) -> None:
    assert called(fetch_type) == name


@pytest.mark.parametrize(
    ("kinds", "trusted", "missing", "words"),
    [
        (
            (CHROMIUM,),
            (),
            {},
            "a Chromium takes pip install -r requirements-js.txt and apt install"
            " chromium-headless-shell",
        ),
        ((CHROMIUM,), (), {CHROMIUM: "it is off"}, "it is off"),
        (
            (SPLASH, CHROMIUM),
            (),
            {CHROMIUM: "it is off"},
            "splash takes its address in fetcher.renderer.splash; it is off",
        ),
        ((SPLASH, CHROMIUM), [SPLASH], {}, "splash is here for trusted tasks only: it asks any"),
    ],
)
def test_who_is_missing_is_told_how_to_be_had(kinds, trusted, missing, words: str) -> None:
    assert explain_absence(kinds, trusted, missing).startswith(words)


@pytest.mark.parametrize("fetch_type", [*RENDERERS, "JS", " Auto ", "Chromium"])
def test_case_and_blanks_make_no_difference_to_a_fetch_type(fetch_type: str) -> None:
    assert find_kinds(fetch_type) == RENDERERS[fetch_type.strip().lower()]
    refuse_unknown_type(Fetch(fetch_type=fetch_type))


@pytest.mark.parametrize("fetch_type", [None, "", " ", "http", "HTTPS", "none", "plain"])
def test_a_plain_fetch_may_be_called_so(fetch_type: str | None) -> None:
    assert find_kinds(fetch_type) == ()
    refuse_unknown_type(Fetch(fetch_type=fetch_type))


@pytest.mark.parametrize("fetch_type", ["javascript", "jss", "j s", "\u212as", "x" * 1000])
def test_a_fetch_type_that_means_nothing_is_told_those_that_do(fetch_type: str) -> None:
    words = "fetch.fetch_type: expected js, auto, chromium, phantomjs, puppeteer, splash, or none"
    with pytest.raises(TaskError, match=words) as caught:
        refuse_unknown_type(Fetch(fetch_type=fetch_type))
    assert len(str(caught.value)) < 200


# -- options that are good ---------------------------------------------------------------------


def test_a_task_that_says_nothing_gets_what_pyspiders_renderers_do() -> None:
    assert built() == Render(kind=CHROMIUM)


@pytest.mark.parametrize(
    "name",
    [
        "js_script",
        "js_run_at",
        "js_viewport_width",
        "js_viewport_height",
        "load_images",
        "js_wait",
        "js_screenshot",
        "js_capture",
        "js_block",
        "js_actions",
    ],
)
def test_a_null_means_what_absence_means(name: str) -> None:
    assert build_render(msgspec.convert({name: None}, Fetch), CHROMIUM) == Render(kind=CHROMIUM)


@pytest.mark.parametrize(
    ("options", "field", "value"),
    [
        ({"js_script": "() => 1"}, "script", "() => 1"),
        ({"js_script": "x" * MAX_SCRIPT}, "script", "x" * MAX_SCRIPT),
        ({"js_script": "'中'"}, "script", "'中'"),
        ({"js_script": ""}, "script", None),
        ({"js_run_at": "document-start"}, "run_at", "document-start"),
        ({"js_run_at": "document-end"}, "run_at", "document-end"),
        ({"js_run_at": ""}, "run_at", "document-end"),
        ({"js_viewport_width": 1}, "width", 1),
        ({"js_viewport_width": MAX_WIDTH}, "width", MAX_WIDTH),
        ({"js_viewport_width": "640"}, "width", 640),
        ({"js_viewport_width": 640.0}, "width", 640),
        ({"js_viewport_height": MAX_HEIGHT}, "height", MAX_HEIGHT),
        ({"load_images": True}, "images", True),
        ({"load_images": 1}, "images", True),
        ({"load_images": "true"}, "images", True),
        ({"load_images": "False"}, "images", False),
        ({"load_images": 0}, "images", False),
        ({"js_wait": "load"}, "wait", Wait("load")),
        ({"js_wait": "idle"}, "wait", IDLE),
        ({"js_wait": True}, "wait", IDLE),
        ({"js_wait": 0}, "wait", Wait("time", 0.0)),
        ({"js_wait": "2"}, "wait", Wait("time", 2.0)),
        ({"js_wait": "0.5"}, "wait", Wait("time", 0.5)),
        ({"js_wait": 1.5}, "wait", Wait("time", 1.5)),
        ({"js_wait": MAX_WAIT}, "wait", Wait("time", MAX_WAIT)),
        ({"js_wait": "#list > li"}, "wait", Wait("selector", selector="#list > li")),
        ({"js_wait": "s" * MAX_SELECTOR}, "wait", Wait("selector", selector="s" * MAX_SELECTOR)),
        ({"js_screenshot": True}, "screenshot", "view"),
        ({"js_screenshot": 1}, "screenshot", "view"),
        ({"js_screenshot": "view"}, "screenshot", "view"),
        ({"js_screenshot": "full"}, "screenshot", "full"),
        ({"js_screenshot": False}, "screenshot", None),
        ({"js_capture": ["xhr"]}, "capture", {"xhr"}),
        ({"js_capture": ["fetch", "xhr"]}, "capture", {"xhr"}),
        ({"js_capture": "xhr"}, "capture", {"xhr"}),
        ({"js_capture": ("document",)}, "capture", {"document"}),
        ({"js_capture": ["xhr"] * MAX_TYPES}, "capture", {"xhr"}),
        ({"js_capture": []}, "capture", frozenset()),
        ({"js_block": ["image", "font"]}, "block", {"image", "font"}),
        ({"js_actions": []}, "actions", ()),
        ({"js_actions": [CLICK]}, "actions", (Click("#more"),)),
        ({"js_actions": (CLICK,)}, "actions", (Click("#more"),)),
        ({"js_actions": [CLICK] * MAX_ACTIONS}, "actions", (Click("#more"),) * MAX_ACTIONS),
        ({"js_actions": [{"scroll": "bottom"}]}, "actions", (Scroll("bottom"),)),
        ({"js_actions": [{"scroll": -MAX_SCROLL}]}, "actions", (Scroll(-MAX_SCROLL),)),
        ({"js_actions": [{"scroll": "#end"}]}, "actions", (Scroll("#end"),)),
        ({"js_actions": [{"type": "#q", "text": ""}]}, "actions", (Type("#q", ""),)),
        (
            {"js_actions": [{"type": "#q", "text": "x" * MAX_TEXT}]},
            "actions",
            (Type("#q", "x" * MAX_TEXT),),
        ),
        ({"js_actions": [{"wait": 2}]}, "actions", (Wait("time", 2.0),)),
        ({"js_actions": [{"wait": ".done"}]}, "actions", (Wait("selector", selector=".done"),)),
    ],
)
def test_an_option_that_is_good(options: dict[str, Any], field: str, value: Any) -> None:
    render = built(**options)
    assert getattr(render, field) == value


# -- options that are not ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"js_script": 5}, "fetch.js_script: expected text, got 5"),
        ({"js_script": ["x"]}, "fetch.js_script: expected text, got a list"),
        ({"js_script": "  "}, "fetch.js_script: expected some text"),
        ({"js_script": "x" * (MAX_SCRIPT + 1)}, f"at most {MAX_SCRIPT} characters, got"),
        ({"js_script": "'\ud800'"}, "half a character"),
        ({"js_run_at": "now"}, "expected document-start or document-end, got 'now'"),
        ({"js_run_at": ["x"]}, "got a list"),
        ({"js_viewport_width": 0}, f"pixels from 1 to {MAX_WIDTH}, got 0"),
        ({"js_viewport_width": MAX_WIDTH + 1}, f"pixels from 1 to {MAX_WIDTH}, got"),
        ({"js_viewport_width": True}, "got True"),
        ({"js_viewport_width": 1.5}, "got 1.5"),
        ({"js_viewport_width": float("nan")}, "got nan"),
        ({"js_viewport_width": "wide"}, "got 'wide'"),
        ({"js_viewport_width": "9" * 10}, "pixels from 1 to"),
        ({"js_viewport_width": 10**5000}, "got a number of many digits"),
        ({"js_viewport_height": MAX_HEIGHT + 1}, "js_viewport_height: expected pixels from 1 to"),
        ({"js_wait": False}, "fetch.js_wait: expected load, idle, seconds"),
        ({"js_wait": -0.1}, "got -0.1"),
        ({"js_wait": MAX_WAIT + 1}, "got 3601"),
        ({"js_wait": float("nan")}, "got nan"),
        ({"js_wait": {}}, "got a dict"),
        ({"js_wait": "3601"}, "got 3601"),
        ({"js_wait": "networkidle"}, "or a CSS selector, got 'networkidle'"),
        ({"js_wait": "DOMContentLoaded"}, "expected load, idle, seconds"),
        ({"js_wait": ""}, "fetch.js_wait: expected some text"),
        (
            {"js_wait": "text=Hello"},
            "fetch.js_wait: 'text=Hello' is no CSS selector: CSS has no = there",
        ),
        ({"js_actions": [{"wait": "a >> b"}]}, "js_actions[0].wait: 'a >> b' is no CSS selector"),
        ({"js_actions": [{"click": "//p"}]}, "js_actions[0].click: '//p' is no CSS selector"),
        (
            {
                "js_actions": [
                    {
                        "scroll": "..",
                    }
                ]
            },
            "js_actions[0].scroll: '..' is no CSS selector",
        ),
        (
            {"js_actions": [{"type": "p:has-text('x')", "text": "x"}]},
            "is no CSS selector: CSS has no :has-text",
        ),
        ({"js_wait": "s" * (MAX_SELECTOR + 1)}, f"at most {MAX_SELECTOR} characters"),
        ({"js_screenshot": "all"}, "expected true, view or full, got 'all'"),
        ({"js_screenshot": ["x"]}, "got a list"),
        ({"js_capture": {"xhr": 1}}, "expected a list of document,"),
        ({"js_capture": ["xhr", "ajax"]}, "got 'ajax'"),
        ({"js_capture": [["xhr"]]}, "got a list"),
        ({"js_capture": ["xhr"] * (MAX_TYPES + 1)}, f"at most {MAX_TYPES} types, got 21"),
        ({"js_block": ["document"]}, "fetch.js_block: expected some of stylesheet,"),
        ({"js_actions": "click"}, "expected a list of actions, got 'click'"),
        ({"js_actions": [CLICK] * (MAX_ACTIONS + 1)}, f"at most {MAX_ACTIONS} are done, got 101"),
        ({"js_actions": [CLICK, "x"]}, "fetch.js_actions[1]: expected an action such as"),
        ({"js_actions": [{}]}, "expected one of scroll, click, type, wait"),
        ({"js_actions": [{**CLICK, "wait": 1}]}, "expected one of scroll, click, type, wait"),
        ({"js_actions": [{"eval": "alert()"}]}, "there is no 'eval'"),
        ({"js_actions": [{**CLICK, "text": "x"}]}, "there is no 'text'"),
        ({"js_actions": [{"click": 5}]}, "fetch.js_actions[0].click: expected text, got 5"),
        ({"js_actions": [{"scroll": True}]}, "js_actions[0].scroll: expected bottom"),
        ({"js_actions": [{"scroll": MAX_SCROLL + 1}]}, "js_actions[0].scroll: expected bottom"),
        ({"js_actions": [{"scroll": 1.5}]}, "js_actions[0].scroll: expected bottom"),
        ({"js_actions": [{"scroll": ""}]}, "js_actions[0].scroll: expected some text"),
        ({"js_actions": [{"type": "#q"}]}, "type wants the text beside it"),
        ({"js_actions": [{"type": "#q", "text": "x" * (MAX_TEXT + 1)}]}, f"at most {MAX_TEXT}"),
        ({"js_actions": [{"wait": "load now"}] * 2 + [{"wait": -1}]}, "js_actions[2].wait"),
    ],
)
def test_an_option_that_is_wrong_is_refused_by_name(options: dict[str, Any], words: str) -> None:
    with pytest.raises(TaskError) as caught:
        built(**options)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 300


# -- who may what ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [PHANTOMJS, PUPPETEER, SPLASH])
@pytest.mark.parametrize(
    "options",
    [
        {"js_wait": "load"},
        {"js_screenshot": True},
        {"js_capture": ["xhr"]},
        {"js_block": ["image"]},
        {"js_actions": [CLICK]},
    ],
)
def test_what_a_renderer_does_not_know_is_refused_instead_of_left_out(kind, options) -> None:
    (name,) = options
    if kind == SPLASH and name in ("js_wait", "js_screenshot"):
        assert built(kind, **options) != built(kind)
        return
    with pytest.raises(TaskError, match=f"fetch.{name}: {kind} does not know it, but chromium"):
        built(kind, **options)


def test_what_is_switched_off_nobody_has_to_know() -> None:
    render = built(PHANTOMJS, js_screenshot=False, js_capture=[])
    assert (render.screenshot, render.capture) == (None, frozenset())


def test_other_renderers_are_told_the_tasks_options_by_pyspiders_names() -> None:
    options = {"timeout": 20.0, "js_script": "() => 1", "load_images": False, "proxy": None}
    render = built(PHANTOMJS, **options, save={"x": 1}, bindaddress="127.0.0.1")
    assert render.fetch == {"timeout": 20.0, "js_script": "() => 1", "load_images": False}
    assert built(CHROMIUM, **options).fetch == {}


@pytest.mark.parametrize("fetch_type", ["js", "auto", "chromium", "phantomjs"])
def test_a_callers_own_script_is_refused_by_the_setting_that_would_allow_it(fetch_type) -> None:
    with pytest.raises(TaskError, match=r"api\.allow_scripts: true"):
        refuse_scripts(Fetch(fetch_type=fetch_type, js_script="() => 1"))


@pytest.mark.parametrize(
    "fetch",
    [
        Fetch(fetch_type="js"),
        Fetch(fetch_type="js", js_script=""),
        Fetch(fetch_type="js", js_actions=[CLICK]),
        Fetch(js_script="() => 1"),  # nothing runs it
        Fetch(fetch_type="foo", js_script="() => 1"),
    ],
)
def test_what_runs_no_script_of_a_caller_is_let_through(fetch: Fetch) -> None:
    refuse_scripts(fetch)


@pytest.mark.parametrize(
    ("options", "more"),
    [
        ({}, False),
        ({"js_wait": 1, "load_images": True, "js_block": ["image"]}, False),
        ({"js_script": "1"}, True),
        ({"js_screenshot": True}, True),
        ({"js_capture": ["xhr"]}, True),
        ({"js_actions": [CLICK]}, True),
    ],
)
def test_what_only_a_rendering_can_bring_is_wanted_of_every_page(options, more) -> None:
    assert wants_more(built(**options)) is more
