"""A callback, found by its name `module:function`, and how it is to be called.

A driver: it imports what the user wrote.
"""

import importlib
import inspect
import os
import re
import sys
import traceback
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from fetcher.errors import FetchpoolError

MOST_LINE: Final = 400  # characters of what an exception says

# `module.inner:function` and `module:Class.method`.
SPEC: Final = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


class CallbackError(FetchpoolError):
    """The callback cannot be had; the text says what is wrong with it."""


class Callback(NamedTuple):
    """What is called with a page, or with its URL and HTML."""

    function: Callable[..., Any]
    is_page: bool
    directory: str  # where the user's own files are


def check_spec(spec: str) -> None:
    """Raises CallbackError for what is no module:function, without looking for it."""
    if SPEC.fullmatch(spec):
        return
    module, colon, function = spec.partition(":")
    if module.endswith(".py") or "/" in module:
        module = module.removesuffix(".py").strip("./").replace("/", ".")
        better = f"{module}:{function or 'function'}"
        raise CallbackError(f"{spec!r} names a file: say {better}, from the directory it is in")
    lack = "" if colon else ", it has no colon"
    raise CallbackError(f"{spec!r} is no module:function{lack}")


def find_callback(spec: str, directory: str) -> Callback:
    """The callback, from `directory` first. Raises CallbackError."""
    check_spec(spec)
    module, _, path = spec.partition(":")
    found = _import(module, directory)
    for name in path.split("."):
        if not hasattr(found, name):
            raise CallbackError(f"{_place(module)} has no {path!r}{_others(sys.modules[module])}")
        found = getattr(found, name)
    if inspect.isclass(found):
        found = _instance(spec, found, directory)
    if not callable(found):
        kind = type(found).__name__
        raise CallbackError(f"{spec} is of type {kind} and cannot be called: a function can")
    if _is_async(found):
        raise CallbackError(
            f"{spec} is async, which a callback cannot be: it has a process of its own and sees"
            " one page at a time, so that it may take its time; write def"
        )
    return Callback(found, _takes_page(spec, found), directory)


def _import(module: str, directory: str) -> Any:
    sys.path.insert(0, directory)
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise CallbackError(
                f"{module} cannot be imported: {last_line(error, directory)}"
            ) from None
        where = f"in {directory}, nor is it installed"
        raise CallbackError(f"there is no module {error.name!r} {where}") from None
    except BaseException as error:  # noqa: BLE001 - sys.exit() of a script is as good a reason
        raise CallbackError(f"{module} cannot be imported: {last_line(error, directory)}") from None


def _instance(spec: str, found: type, directory: str) -> Any:
    try:
        return found()
    except BaseException as error:  # noqa: BLE001 - as above
        raise CallbackError(f"{spec}() cannot be made: {last_line(error, directory)}") from None


def _is_async(found: Any) -> bool:
    return any(
        inspect.iscoroutinefunction(one) or inspect.isasyncgenfunction(one)
        for one in (found, type(found).__call__)
    )


def _takes_page(spec: str, found: Callable[..., Any]) -> bool:
    try:
        signature = inspect.signature(found)
    except ValueError:
        return False  # some of those written in C do not tell
    if _binds(signature, 1) and next(iter(signature.parameters)) == "page":
        return True
    if _binds(signature, 2):
        return False
    raise CallbackError(f"{spec} takes {signature}: a callback takes (url, html), or (page)")


def _binds(signature: inspect.Signature, count: int) -> bool:
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True


def _place(module: str) -> str:
    file = getattr(sys.modules[module], "__file__", None)
    return f"module {module} ({file})" if file else f"module {module}"


def _others(module: Any) -> str:
    """What else the user may have meant."""
    names = [
        name
        for name, value in vars(module).items()
        if getattr(value, "__module__", None) == module.__name__ and callable(value)
    ]
    return f"; it has {', '.join(names[:10])}" if names else ""


def last_line(error: BaseException, directory: str) -> str:
    """What a traceback ends with, and the line in the user's own files that led to it."""
    lines = traceback.format_exception_only(error)
    text = next(line for line in lines if not line.startswith(" ")).strip()
    text = text if len(text) <= MOST_LINE else text[: MOST_LINE - 1] + "…"
    places = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError):
        places.append((error.filename or "", error.lineno))
    for file, line in reversed(places):
        if file.startswith(os.path.join(directory, "")) and "site-packages" not in file:
            return f"{text} ({os.path.relpath(file, directory)}:{line})"
    return text
