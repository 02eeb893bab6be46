from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from peer.agent.open_files import OpenFile, OpenFiles
from peer.errors import OperationFailed
from schema.envelope import Address
from schema.failure_codes import STALE_HANDLE
from tests.peer.agent.conftest import LAPTOP, PHONE, open_descriptors

PATH = (b"f",)


def close_all(table: OpenFiles) -> None:
    for client in table.clients():
        table.close_client(client)


@pytest.fixture
def table():
    before = open_descriptors()
    table = OpenFiles(per_client=3, total=5)
    yield table
    close_all(table)
    assert open_descriptors() == before


def opened(table: OpenFiles, client: Address, path: Path | str = "/dev/null", flags: int = os.O_RDONLY) -> OpenFile:
    with table.reserved(client) as room:
        return room.fill(os.open(path, flags), PATH, flags, read_only=False)


def test_a_handle_is_never_zero_never_the_same_and_begins_anywhere(table):
    handles = [opened(table, LAPTOP).handle for _ in range(3)]
    assert len({0, *handles}) == 4
    later = OpenFiles(per_client=3, total=5)
    assert opened(later, LAPTOP).handle not in handles
    close_all(later)
    assert all(handle < 2**64 for handle in handles)


def test_a_handle_is_good_for_its_client_alone(table):
    handle = opened(table, LAPTOP).handle
    with table.use(LAPTOP, handle) as file:
        assert (file.path, file.readable, file.writable) == (PATH, True, False)
    for client in (PHONE, Address("laptop", 2)):
        for attempt in (lambda c=client: table.close(c, handle), lambda c=client: table.use(c, handle).__enter__()):
            with pytest.raises(OperationFailed) as caught:
                attempt()
            assert caught.value.code == STALE_HANDLE
    assert table.close(LAPTOP, handle).handle == handle
    with pytest.raises(OperationFailed), table.use(LAPTOP, handle):
        pass


@pytest.mark.parametrize("handle", [0, 1, 2**64 - 1])
def test_a_handle_of_nobody_is_stale(table, handle):
    with pytest.raises(OperationFailed) as caught, table.use(LAPTOP, handle):
        pass
    assert caught.value.code == STALE_HANDLE


def test_a_client_has_its_share_and_no_more(table):
    files = [opened(table, LAPTOP) for _ in range(3)]
    with pytest.raises(OSError) as caught:
        opened(table, LAPTOP)
    assert caught.value.errno == errno.EMFILE
    opened(table, PHONE)
    opened(table, PHONE)
    with pytest.raises(OSError) as caught:
        opened(table, Address("tablet", 1))
    assert caught.value.errno == errno.ENFILE
    table.close(LAPTOP, files[0].handle)
    opened(table, LAPTOP)


def test_room_that_came_to_nothing_is_given_back(table):
    for _ in range(10):
        with pytest.raises(FileNotFoundError):
            opened(table, LAPTOP, "/nothing")
    for _ in range(3):
        opened(table, LAPTOP)


def test_a_file_that_cannot_be_entered_is_closed(table, monkeypatch):
    def refuse(_):
        raise OSError(errno.EIO, "")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fstat", refuse)
        with pytest.raises(OSError, match="5"):
            opened(table, LAPTOP)
    assert len(table) == 0
    for _ in range(3):
        opened(table, LAPTOP)


def test_a_descriptor_lives_until_the_last_operation_on_it_is_over(table, tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"content")
    handle = opened(table, LAPTOP, path).handle
    in_use, closed = threading.Event(), threading.Event()
    seen = []

    def read():
        with table.use(LAPTOP, handle) as file:
            in_use.set()
            assert closed.wait(5)
            seen.append(os.pread(file.descriptor, 100, 0))

    reader = threading.Thread(target=read)
    reader.start()
    assert in_use.wait(5)
    table.close(LAPTOP, handle)
    with pytest.raises(OperationFailed), table.use(LAPTOP, handle):
        pass
    closed.set()
    reader.join(5)
    assert seen == [b"content"]


def test_a_client_that_is_gone_leaves_nothing(table):
    mine, others = {opened(table, LAPTOP).handle for _ in range(3)}, opened(table, PHONE).handle
    assert {file.handle for file in table.close_client(LAPTOP)} == mine
    assert (len(table), table.clients()) == (1, {PHONE})
    with table.use(PHONE, others):
        pass
    assert table.close_client(LAPTOP) == []


def test_bytes_are_counted(table):
    file = opened(table, LAPTOP)
    table.account(file, read=3)
    table.account(file, read=4, written=5)
    assert (file.read, file.written) == (7, 5)
