"""Logging as the settings want it: lines for people or JSON for collectors, on stderr."""

import logging
import sys
from datetime import UTC, datetime
from typing import Any

import msgspec

from fetcher.settings import LOG_FIELDS, Log


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, message, a traceback if any, and the
    fields that whoever logs has put beside."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= getattr(record, LOG_FIELDS, {})
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


def set_up_logging(settings: Log, *, quiet: bool = False) -> None:
    """Configure the root logger. `quiet`: warnings only, for commands whose output is the point."""
    handler = logging.StreamHandler(sys.stderr)
    if settings.format == "json":
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    if quiet:
        level = max(level, logging.WARNING)
    logging.basicConfig(level=level, handlers=[handler], force=True)
