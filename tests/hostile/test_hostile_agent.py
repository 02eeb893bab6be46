"""An agent that is authenticated and answers garbage: a clear failure of that operation, and the next one works."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from peer.channel import responder_core
from peer.channel.packing import Padding, pack
from peer.channel.requester import Patience
from peer.errors import OperationFailed
from peer.mount.remote_filesystem import RemoteFileSystem
from schema.replies import DirectoryEntry, DirectoryPage, Done, FileData, Reply
from schema.requests import GetMetadata, ListDir, ReadFile
from tests.peer.channel.wired import ME, METADATA, PATIENCE, STAT, Wired, asking

SHORT = Patience(1.0, 1.0)


def plain(content: bytes) -> bytes:
    return b"\0" + len(content).to_bytes(4, "big") + content


def encoded(*fields: object) -> bytes:
    return plain(msgspec.msgpack.encode(fields))


GARBAGE: dict[str, tuple[Callable[[Reply], bytes], str]] = {
    "nothing": (lambda reply: b"", "ETIMEDOUT"),
    "noise": (lambda reply: b"\xff" * 99, "ETIMEDOUT"),
    "a bomb": (lambda reply: b"\1\0\0\0\x08" + b"\xff" * 8, "ETIMEDOUT"),
    "another's number": (lambda reply: bytes(pack(Reply(reply.id + 1000, reply.body))), "ETIMEDOUT"),
    "a number below 0": (lambda reply: encoded(-1, [1]), "ETIMEDOUT"),
    "no such reply": (lambda reply: encoded(reply.id, [99]), "MALFORMED"),
    "a reply of the wrong type": (lambda reply: encoded(reply.id, [3, "attributes"]), "MALFORMED"),
    "a handle of 0": (lambda reply: encoded(reply.id, [5, 0, [1] * 13]), "MALFORMED"),
    "nesting": (lambda reply: plain(b"\x92" + bytes([reply.id]) + b"\x91" * 50_000), "ETIMEDOUT|MALFORMED"),
}


@pytest.mark.parametrize(("garble", "code"), GARBAGE.values(), ids=GARBAGE)
def test_garbage_is_a_failure_of_its_own_operation(
    wired: Wired, monkeypatch: pytest.MonkeyPatch, garble: Callable[[Reply], bytes], code: str
) -> None:
    client = wired.client(patience=SHORT)
    assert client.call(STAT, ME) == METADATA

    def garbled(message: Reply, padding: Padding = Padding.NONE) -> bytes:
        return garble(message)

    with monkeypatch.context() as hostile:
        hostile.setattr(responder_core, "pack", garbled)
        with pytest.raises(OperationFailed, match=code):
            client.call(STAT, ME)
    assert client.call(STAT, ME) == METADATA


def test_an_answer_of_another_shape_is_malformed(wired: Wired) -> None:
    files = RemoteFileSystem(wired.client())
    result = asking(lambda: files.read_file(ReadFile(1, 0, 4), ME))
    wired.handler.next().answer(Done())
    assert "expected FileData" in str(result.get(timeout=PATIENCE))


def test_more_than_was_asked_for_is_malformed(wired: Wired) -> None:
    files = RemoteFileSystem(wired.client())
    result = asking(lambda: files.read_file(ReadFile(1, 0, 4), ME))
    wired.handler.next().answer(FileData(memoryview(b"12345")))
    assert "more than the 4 asked for" in str(result.get(timeout=PATIENCE))


@pytest.mark.parametrize("name", [b"..", b".", b"a/b", b"a\0b"])
def test_a_name_that_leads_elsewhere_is_malformed(wired: Wired, name: bytes) -> None:
    files = RemoteFileSystem(wired.client())
    result = asking(lambda: files.list_dir(ListDir(()), ME))
    wired.handler.next().answer(DirectoryPage((DirectoryEntry(name, 1, 0),), complete=True))
    assert "names what is no file" in str(result.get(timeout=PATIENCE))


def test_an_answer_that_comes_twice_ends_one_request_only(wired: Wired) -> None:
    client = wired.client()
    result = asking(lambda: client.call(ReadFile(1, 0, 4), ME))
    asked = wired.handler.next()
    asked.answer(FileData(memoryview(b"once")))
    asked.answer(FileData(memoryview(b"more")))
    answer = result.get(timeout=PATIENCE)
    assert isinstance(answer, FileData)
    assert bytes(answer.data) == b"once"
    assert client.call(GetMetadata((b"a",)), ME) == METADATA
