"""Log lines of all three programs, for people or for machines: one form, so that one tool reads them all.

The one rule: one event is one line, whatever text another machine managed to get into it.
"""

from __future__ import annotations

import json
import logging
import logging.handlers
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

import msgspec

_FILE_SIZE: Final = 10 * 1024 * 1024
_FILES: Final = 5


class LogTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[log]`` of every settings file: to standard error, or to a file that is rotated at 10 MiB, 5 of them kept."""

    format: Literal["plain", "json"] = "plain"
    level: Literal["debug", "info", "warning", "error"] = "info"
    file: Path | None = None


class PlainFormatter(logging.Formatter):
    """``2025-01-31T12:00:00.000Z WARNING broker.zap refused ...``; control characters are shown as escapes."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        return f"{_when(record)} {record.levelname} {record.name} {_one_line(_text(self, record))}"


class JsonFormatter(logging.Formatter):
    """An object a line: time, level, logger, message."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        return json.dumps(
            {
                "time": _when(record),
                "level": record.levelname.lower(),
                "logger": record.name,
                "message": _text(self, record),
            }
        )


def log_to(table: LogTable, logger_name: str) -> None:
    """Send what the loggers at and below `logger_name` say where `table` says. Raises OSError if that cannot be."""
    handler: logging.Handler
    if table.file is None:
        handler = logging.StreamHandler(sys.stderr)
    else:
        handler = logging.handlers.RotatingFileHandler(table.file, maxBytes=_FILE_SIZE, backupCount=_FILES)
    handler.setFormatter(JsonFormatter() if table.format == "json" else PlainFormatter())
    logger = logging.getLogger(logger_name)
    for old in logger.handlers[:]:
        logger.removeHandler(old)
        old.close()
    logger.addHandler(handler)
    logger.setLevel(table.level.upper())
    logger.propagate = False


def _when(record: logging.LogRecord) -> str:
    at = datetime.fromtimestamp(record.created, UTC)
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def _text(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    text = record.getMessage()
    if record.exc_info:
        text += "\n" + formatter.formatException(record.exc_info)
    return text


def _one_line(text: str) -> str:
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)
