from __future__ import annotations

import errno
import json
import logging
import os
import stat
import threading
from pathlib import Path

import pytest

from peer.agent.access_policy import AccessRules
from peer.agent.audit import AuditEntry, AuditLog
from peer.agent.dispatcher import Dispatcher
from schema.requests import ListDir, LockMode
from tests.conformance.driver import Files, refused
from tests.peer.agent.conftest import LAPTOP, ME, components


def entry(number: int = 1, **more) -> AuditEntry:
    return AuditEntry(1.5, "laptop/0000000000000001", number, 1000, "DeleteFile", (b"a", b"b"), **more)


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


def test_an_entry_is_one_line_of_json(path):
    audit = AuditLog(str(path))
    audit.record(entry(7, second_path=(b"c",), outcome="EACCES"))
    audit.record(entry(8, read=3, written=4))
    audit.close()
    first, second = lines(path)
    assert first == {
        "time": "1970-01-01T00:00:01.500+00:00",
        "client": "laptop/0000000000000001",
        "request": 7,
        "uid": 1000,
        "operation": "DeleteFile",
        "path": "/a/b",
        "second_path": "/c",
        "outcome": "EACCES",
    }
    assert (second["read"], second["written"], second["bytes"], second["outcome"]) == (3, 4, 7, "ok")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_no_name_makes_a_line_of_its_own(path):
    audit = AuditLog(str(path))
    audit.record(AuditEntry(1.5, "laptop", 1, 0, "DeleteFile", (b'x\n{"operation": "forged"}', b"\xff\x1b[2J\x7f")))
    audit.close()
    assert [line["operation"] for line in lines(path)] == ["DeleteFile"]
    assert path.read_bytes().count(b"\n") == 1
    assert all(0x20 <= byte < 0x7F for byte in path.read_bytes()[:-1])


def test_it_goes_on_where_it_was(path):
    for number in range(2):
        audit = AuditLog(str(path))
        audit.record(entry(number))
        audit.close()
    assert [line["request"] for line in lines(path)] == [0, 1]


def test_files_rotate_and_the_oldest_goes(path):
    audit = AuditLog(str(path), max_bytes=1000, keep=2)
    for number in range(50):
        audit.record(entry(number))
    audit.close()
    files = [path, path.with_name("audit.jsonl.1"), path.with_name("audit.jsonl.2")]
    assert sorted(path.parent.iterdir()) == sorted(files)
    assert all(file.stat().st_size <= 1000 for file in files)
    numbers = [line["request"] for file in reversed(files) for line in lines(file)]
    assert numbers == list(range(numbers[0], 50))


class Stuck:
    """A disk that does not take anything until told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.go_on = threading.Event(), threading.Event()
        genuine = os.write

        def write(descriptor, data):
            if threading.current_thread().name == "audit":
                self.reached.set()
                assert self.go_on.wait(10)
            return genuine(descriptor, data)

        monkeypatch.setattr(os, "write", write)


def test_a_flood_is_dropped_counted_and_admitted_to(path, monkeypatch):
    disk = Stuck(monkeypatch)
    audit = AuditLog(str(path), queue_size=10)
    audit.record(entry(0))
    assert disk.reached.wait(10)
    for number in range(1, 1001):
        audit.record(entry(number))  # returns at once, or the test runs into its time limit
    disk.go_on.set()
    audit.close()
    written = lines(path)
    kept = [line["request"] for line in written if line["operation"] != "dropped"]
    dropped = sum(line["count"] for line in written if line["operation"] == "dropped")
    assert kept == list(range(11))
    assert dropped == 990


def test_a_full_disk_stops_the_audit_only_says_so_once_and_is_tried_again(path, monkeypatch, caplog):
    full, now = True, 0.0
    genuine = os.write
    tried = []

    def write(descriptor, data):
        if threading.current_thread().name == "audit":
            tried.append(data)
            if full:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return genuine(descriptor, data)

    monkeypatch.setattr(os, "write", write)
    audit = AuditLog(str(path), clock=lambda: now)
    with caplog.at_level(logging.WARNING):
        for number in range(5):
            audit.record(entry(number))
            drained(audit)
        assert len(tried) == 1, "it must not hammer a full disk"
        now = 30.0
        audit.record(entry(5))
        drained(audit)
        assert len(tried) == 2
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        full, now = False, 60.0
        audit.record(entry(6))
        audit.close()
    written = lines(path)
    assert [line.get("request") for line in written if line["operation"] == "DeleteFile"] == [6]
    assert sum(line["count"] for line in written if line["operation"] == "dropped") == 6
    assert caplog.records[-1].levelname == "WARNING"


def drained(audit: AuditLog) -> None:
    """Wait until the thread has dealt with all that was recorded."""
    audit._queue.join()


def test_half_a_line_is_taken_back(path, monkeypatch):
    genuine = os.write
    short = [True]

    def write(descriptor, data):
        if threading.current_thread().name == "audit" and short:
            short.pop()
            return genuine(descriptor, data[:10])
        return genuine(descriptor, data)

    monkeypatch.setattr(os, "write", write)
    audit = AuditLog(str(path))
    audit.record(entry(1))
    audit.close()
    assert [line["request"] for line in lines(path)] == [1]


def test_a_link_in_the_place_of_the_log_is_refused(path, tmp_path):
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="audit.jsonl"):
        AuditLog(str(path))


def test_what_the_dispatcher_records(path, export):
    audit = AuditLog(str(path))
    dispatcher = Dispatcher(AccessRules((components(export),), (components(export / "fixed"),)), boot=1, audit=audit)
    files = Files(dispatcher.view(LAPTOP), components(export), ME)
    handle = files.create(b"f")
    files.write(handle, 0, b"12345")
    files.read(handle, 0, 3)
    files.change(handle, mode=0o600)
    files.lock(handle, 1, LockMode.EXCLUSIVE)
    files.stat(b"f")
    files.close(handle)
    files.rename(b"f", b"g")
    with refused("ENOENT"):
        files.unlink(b"f")
    with refused("ENOENT"):
        files.stat(b"f")
    with refused("EROFS"):
        files.mkdir(b"fixed")
    with refused("EACCES"):
        dispatcher.view(LAPTOP).list_dir(ListDir((b"etc",), b"x"), ME)
    left_open = files.open(b"g")
    dispatcher.client_gone(LAPTOP)
    files._handles.discard(left_open)
    dispatcher.close()
    audit.close()
    where = str(export)
    told = [(line["operation"], line.get("path"), line.get("outcome"), line.get("bytes")) for line in lines(path)]
    assert told == [
        ("CreateFile", where + "/f", "ok", None),
        ("SetMetadata", where + "/f", "ok", None),
        ("CloseFile", where + "/f", "ok", 8),
        ("RenamePath", where + "/f", "ok", None),
        ("DeleteFile", where + "/f", "ENOENT", None),
        ("CreateDir", where + "/fixed", "EROFS", None),
        ("ListDir", "/etc", "EACCES", None),
        ("OpenFile", where + "/g", "ok", None),
        ("CloseFile", where + "/g", "ok", 0),
    ]
    assert lines(path)[3]["second_path"] == where + "/g"
    assert {line["client"] for line in lines(path)} == {"laptop/0000000000000001"}
