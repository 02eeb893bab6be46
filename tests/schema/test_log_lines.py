"""Log lines: one an event, whatever another machine got into it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from schema.log_lines import LogTable, log_to


def set_up(table: LogTable) -> None:
    log_to(table, "remotefs_test")


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    logger = logging.getLogger("remotefs_test")
    before = logger.handlers[:], logger.level, logger.propagate
    yield
    for handler in logger.handlers[:]:
        logger.removeHandler(handler)
        handler.close()
    logger.handlers[:], logger.level, logger.propagate = before


def said(table: LogTable) -> str:
    set_up(table)
    log = logging.getLogger("remotefs_test.room")
    log.debug("quiet")
    log.info("running %s", "evil\nWARNING remotefs_test.room forged \x1b[31m \u202e")
    try:
        int("a\nb")
    except ValueError:
        log.exception("failed")
    assert table.file is not None
    return table.file.read_text()


def test_plain_lines_cannot_be_forged(tmp_path: Path) -> None:
    lines = said(LogTable(file=tmp_path / "log")).splitlines()
    assert len(lines) == 2
    assert " INFO remotefs_test.room running evil\\nWARNING remotefs_test.room forged \\x1b[31m \\u202e" in lines[0]
    assert "ValueError: invalid literal" in lines[1]


def test_json_lines_are_objects(tmp_path: Path) -> None:
    first, second = map(json.loads, said(LogTable("json", file=tmp_path / "log")).splitlines())
    assert (first["level"], first["logger"]) == ("info", "remotefs_test.room")
    assert first["message"].startswith("running evil\nWARNING")
    assert first["time"].endswith("Z")
    assert "ValueError" in second["message"]


def test_setting_up_again_replaces_and_the_level_counts(tmp_path: Path) -> None:
    set_up(LogTable(level="debug", file=tmp_path / "one"))
    set_up(LogTable(level="error", file=tmp_path / "two"))
    logging.getLogger("remotefs_test.room").warning("nobody hears this")
    logging.getLogger("remotefs_test.room").error("this once")
    assert (tmp_path / "one").read_text() == ""
    assert (tmp_path / "two").read_text().count("\n") == 1


def test_without_a_file_it_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    set_up(LogTable())
    logging.getLogger("remotefs_test.room").info("hello")
    assert "hello" in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        set_up(LogTable(file=tmp_path / "missing" / "log"))
