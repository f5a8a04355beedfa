"""Callbacks found by name, and the sentences that say why one cannot be had."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fetcher.crawl.callback.find import CallbackError, check_spec, find_callback

MODULE = """
import functools

def two(url, html): ...
def page(page): ...
def page_and_more(page, verbose=False, *rest, **more): ...
def page_of_two(page, html): ...
def any_(*arguments): ...
def three(url, html, more=None): ...
async def async_(url, html): ...
async def async_yields(url, html): yield
class AsyncCall:
    async def __call__(self, url, html): ...
class Two:
    made = 0
    def __init__(self): Two.made += 1
    def __call__(self, url, html): ...
    def method(self, page): ...
    @staticmethod
    def static(page): ...
class NoCall: ...
class Wants:
    def __init__(self, what): ...
class Fails:
    def __init__(self): raise KeyError("x")
two_object = Two()
partial = functools.partial(three, more=1)
partial_async = functools.partial(async_, html="")
in_c = max
of_one = lambda response: None
of_none = lambda: None
of_key = lambda *, page: None
number = 7
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    path, modules = list(sys.path), set(sys.modules)
    (tmp_path / "mine.py").write_text(MODULE)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("name", "is_page"),
    [
        ("two", False),
        ("page", True),
        ("page_and_more", True),
        ("page_of_two", False),
        ("any_", False),
        ("three", False),
        ("Two", False),
        ("two_object", False),
        ("two_object.method", True),
        ("Two.static", True),
        ("partial", False),
        ("in_c", False),
    ],
)
def test_how_it_is_called_is_decided_by_its_parameters(
    folder: Path, name: str, is_page: bool
) -> None:
    found = find_callback(f"mine:{name}", str(folder))
    assert (found.is_page, found.directory) == (is_page, str(folder))
    assert callable(found.function) and not isinstance(found.function, type)


def test_a_class_is_made_once(folder: Path) -> None:
    made = type(find_callback("mine:Two", str(folder)).function)
    assert vars(made)["made"] == 2  # two_object is the other


ASYNC = (
    "is async, which a callback cannot be: it has a process of its own and sees one page at a time,"
    " so that it may take its time; write def"
)


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        ("mine:none", "module mine (FOLDER/mine.py) has no 'none'; it has two, page,"),
        ("mine:Two.none", "module mine (FOLDER/mine.py) has no 'Two.none'; it has two, page,"),
        ("mine:async_", f"mine:async_ {ASYNC}"),
        ("mine:async_yields", f"mine:async_yields {ASYNC}"),
        ("mine:AsyncCall", f"mine:AsyncCall {ASYNC}"),
        ("mine:partial_async", f"mine:partial_async {ASYNC}"),
        ("mine:NoCall", "mine:NoCall is of type NoCall and cannot be called: a function can"),
        ("mine:number", "mine:number is of type int and cannot be called: a function can"),
        ("mine:Wants", "mine:Wants() cannot be made: TypeError: "),
        ("mine:Fails", "mine:Fails() cannot be made: KeyError: 'x' (mine.py:25)"),
        ("mine:of_one", "mine:of_one takes (response): a callback takes (url, html), or (page)"),
        ("mine:of_none", "mine:of_none takes (): a callback takes (url, html), or (page)"),
        ("mine:of_key", "mine:of_key takes (*, page): a callback takes (url, html), or (page)"),
        ("yours:two", "there is no module 'yours' in FOLDER, nor is it installed"),
        ("yours.too:two", "there is no module 'yours' in FOLDER, nor is it installed"),
        ("mine.too:two", "there is no module 'mine.too' in FOLDER, nor is it installed"),
        (
            "broken:two",
            "broken cannot be imported: SyntaxError: '(' was never closed (broken.py:2)",
        ),
        ("fails:two", "fails cannot be imported: ZeroDivisionError: division by zero (fails.py:2)"),
        ("leaves:two", "leaves cannot be imported: SystemExit: 7 (leaves.py:2)"),
        ("lacks:two", "lacks cannot be imported: ModuleNotFoundError: No module named 'not_there'"),
        ("raises:two", "raises cannot be imported: ModuleNotFoundError: by hand"),
        ("empty:two", "module empty (FOLDER/empty.py) has no 'two'"),
        ("sys:two", "module sys has no 'two'"),
        ("mine", "'mine' is no module:function, it has no colon"),
    ],
)
def test_what_is_wrong_is_said(folder: Path, spec: str, error: str) -> None:
    (folder / "broken.py").write_text("\nx = (\n")
    (folder / "fails.py").write_text("\n1 / 0\n")
    (folder / "leaves.py").write_text("import sys\nsys.exit(7)\n")
    (folder / "lacks.py").write_text("import not_there\n")
    (folder / "raises.py").write_text("raise ModuleNotFoundError('by hand')\n")
    (folder / "empty.py").write_text("import json\nfrom os.path import join\n")
    with pytest.raises(CallbackError) as raised:
        find_callback(spec, str(folder))
    said = str(raised.value)
    assert said.startswith(error.replace("FOLDER", str(folder)))
    if spec.startswith("empty"):
        assert "it has" not in said


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        ("a:b", None),
        ("a.b:c.d", None),
        ("é_1:ü", None),
        ("", "'' is no module:function, it has no colon"),
        (":", "':' is no module:function"),
        ("a:", "'a:' is no module:function"),
        ("a:b:c", "'a:b:c' is no module:function"),
        ("a b:c", "'a b:c' is no module:function"),
        ("1a:c", "'1a:c' is no module:function"),
        ("..a:c", "'..a:c' is no module:function"),
        ("a:b()", "'a:b()' is no module:function"),
        ("a.py", "'a.py' names a file: say a:function, from the directory it is in"),
        ("./a.py:c", "'./a.py:c' names a file: say a:c, from the directory it is in"),
        ("b/a.py:c", "'b/a.py:c' names a file: say b.a:c, from the directory it is in"),
    ],
)
def test_a_name_is_judged_before_anything_is_looked_for(spec: str, error: str | None) -> None:
    if error is None:
        check_spec(spec)
        return
    with pytest.raises(CallbackError) as raised:
        check_spec(spec)
    assert str(raised.value) == error
