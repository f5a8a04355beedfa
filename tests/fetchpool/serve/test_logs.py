import json
import logging
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from fetcher.settings import LOG_FIELDS, Log
from fetchpool.serve.logs import JsonFormatter, set_up_logging

logger = logging.getLogger("tests.logs")


@pytest.fixture(autouse=True)
def the_root_logger_is_put_back() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers = handlers
    root.setLevel(level)


@pytest.mark.parametrize(
    ("level", "quiet", "expected"),
    [
        ("debug", False, "diwe"),
        ("info", False, "iwe"),
        ("warning", False, "we"),
        ("error", False, "e"),
        ("critical", False, ""),
        ("debug", True, "we"),
        ("info", True, "we"),
        ("error", True, "e"),
    ],
)
def test_the_level_decides_what_is_said(
    capsys: pytest.CaptureFixture[str], level: str, quiet: bool, expected: str
) -> None:
    set_up_logging(Log(level=level), quiet=quiet)  # type: ignore[arg-type]
    for method in (logger.debug, logger.info, logger.warning, logger.error):
        method("%s", method.__name__[0])
    assert "".join(line[-1] for line in capsys.readouterr().err.splitlines()) == expected


def test_a_line_for_people_says_when_what_and_where(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging(Log())
    logger.warning("%d lost", 3)
    assert capsys.readouterr().err.endswith(" WARNING tests.logs: 3 lost\n")


def test_a_second_set_up_replaces_the_first(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging(Log())
    set_up_logging(Log(format="json"))
    logger.warning("once")
    assert json.loads(capsys.readouterr().err)["message"] == "once"


def test_a_line_for_collectors_is_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging(Log(format="json"))
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logger.exception("it %s\n", "failed")
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    line = json.loads(text)
    assert list(line) == ["time", "level", "logger", "message", "traceback"]
    assert (line["level"], line["logger"], line["message"]) == (
        "error",
        "tests.logs",
        "it failed\n",
    )
    assert line["traceback"].endswith("ValueError: two\nlines")
    assert datetime.fromisoformat(line["time"]).utcoffset() == timedelta(0)


def test_a_line_without_an_exception_has_no_traceback() -> None:
    record = logging.LogRecord("a.b", logging.INFO, "", 0, "é %d", (1,), None)
    assert json.loads(JsonFormatter().format(record)).keys() == {
        "time",
        "level",
        "logger",
        "message",
    }


def test_what_stands_beside_the_message_has_fields_of_its_own() -> None:
    record = logging.LogRecord("n", logging.INFO, "f", 1, "GET /", (), None)
    record.__dict__[LOG_FIELDS] = {"status": 200, "request_id": "a"}
    line = json.loads(JsonFormatter().format(record))
    assert (line["message"], line["status"], line["request_id"]) == ("GET /", 200, "a")
