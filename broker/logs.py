"""Log lines, for people or for machines.

The one rule: one event is one line, whatever text another machine managed to get into it.
"""

from __future__ import annotations

import json
import logging
import logging.handlers
import sys
from datetime import UTC, datetime
from typing import Final

from broker.config import LogTable
from broker.errors import StartupError

_FILE_SIZE: Final = 10 * 1024 * 1024
_FILES: Final = 5


class PlainFormatter(logging.Formatter):
    """``2025-01-31T12:00:00Z WARNING broker.zap refused ...``; control characters are shown as escapes."""

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


def set_up(table: LogTable) -> None:
    """Send what the ``broker`` loggers say where `table` says.

    Raises `StartupError` for a file that cannot be written.
    """
    handler: logging.Handler
    if table.file is None:
        handler = logging.StreamHandler(sys.stderr)
    else:
        try:
            handler = logging.handlers.RotatingFileHandler(table.file, maxBytes=_FILE_SIZE, backupCount=_FILES)
        except OSError as error:
            raise StartupError(f"log.file: {table.file} cannot be written: {error.strerror}") from error
    handler.setFormatter(JsonFormatter() if table.format == "json" else PlainFormatter())
    logger = logging.getLogger("broker")
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
