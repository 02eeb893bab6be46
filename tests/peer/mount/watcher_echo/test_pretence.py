"""What the echo's thread is answered, and that nothing which it asks for reaches the agent."""

from __future__ import annotations

import os
import stat
import threading

import pytest

from peer.errors import OperationFailed
from peer.mount.watcher_echo.echoes import Call, Echo
from peer.mount.watcher_echo.pretence import Pretence, is_pretended
from schema import requests
from schema.replies import Done, Metadata
from tests.peer.mount.laptop import Counting, Laptop
from tests.peer.mount.samples import FILE, metadata
from tests.simulation.coherence.remote import NOBODY

A, B = (b"a",), (b"b",)
GONE = metadata(inode=99)
FOREIGN = [
    requests.DeleteFile(B),
    requests.CreateFile(B, os.O_WRONLY | os.O_CREAT, 0o600),
    requests.SetMetadata(B, size=0),
    requests.RenamePath(A, B),
    requests.RenamePath(B, A, 1),
    requests.SetXattr(A, name=b"user.x", value=b""),
    requests.CreateLink(A, B),
    requests.OpenFile(B, os.O_WRONLY | os.O_TRUNC),
    requests.WriteFile(5, 0, memoryview(b"x")),
]


class Scene:
    """A file `a` at the agent, and the echo's thread, which is this one while `on_stage`."""

    def __init__(self):
        self.laptop = Laptop()
        self.laptop.remote.write(requests.CreateFile(A, os.O_RDWR | os.O_CREAT, 0o600))
        self.laptop.hear()
        self.counting = Counting(self.laptop.remote)
        self.on_stage = True
        self.pretence = Pretence(self.counting, lambda: threading.get_native_id() if self.on_stage else 1)
        self.now = self.pretence.get_metadata(requests.GetMetadata(A), NOBODY).metadata
        self.counting.asked.clear()

    def ask(self, echo, *asked, standing=None):
        """The answers to `asked` while `echo` is performed: replies, or codes of failures."""
        with self.pretence.about(echo, standing or {}):
            return [self._answer(request) for request in asked]

    def _answer(self, request):
        try:
            return self.pretence._perform(request, NOBODY, object)
        except OperationFailed as failure:
            return failure.code

    @property
    def changed(self):
        return [name for name in self.counting.asked if name != "GetMetadata"]


@pytest.fixture
def scene():
    return Scene()


def test_what_is_gone_is_there_until_it_is_removed(scene):
    looked, removed, again = scene.ask(
        Echo(Call.REMOVE, B, GONE, None), requests.GetMetadata(B), requests.DeleteFile(B), requests.DeleteFile(B)
    )
    assert looked == Metadata(GONE)
    assert removed == Done()
    assert again == "EIO"
    assert scene.changed == []


def test_what_is_there_by_now_is_not_removed(scene):
    assert scene.ask(Echo(Call.REMOVE, A, GONE, None), requests.DeleteFile(A)) == ["EIO"]
    assert scene.changed == []
    assert not scene.pretence.done


def test_a_new_file_is_absent_until_it_is_made_and_then_as_it_is(scene):
    echo = Echo(Call.MAKE, A, None, scene.now)
    before, made = scene.ask(echo, requests.GetMetadata(A), requests.CreateFile(A, os.O_WRONLY | os.O_CREAT, 0o600))
    assert before == "ENOENT"
    assert made.metadata == scene.now
    assert is_pretended(made.handle)
    assert scene.changed == []


def test_what_is_gone_again_is_not_made(scene):
    create = requests.CreateFile(B, os.O_WRONLY | os.O_CREAT, 0o600)
    assert scene.ask(Echo(Call.MAKE, B, None, GONE), create) == ["EIO"]


def test_what_is_of_another_kind_by_now_is_not_made(scene):
    directory = metadata(mode=stat.S_IFDIR | 0o755)
    assert scene.ask(Echo(Call.MAKE, A, None, directory), requests.CreateDir(A, 0o755)) == ["EIO"]


def test_a_file_that_is_written_keeps_the_size_it_has(scene):
    with scene.pretence.about(Echo(Call.WRITE, A, FILE, FILE), {}):
        opened = scene.pretence.open_file(requests.OpenFile(A, os.O_WRONLY), NOBODY)
        set_size = requests.SetMetadata((), opened.handle, size=12345)
        assert scene.pretence.set_metadata(set_size, NOBODY).metadata == scene.now
        with pytest.raises(OperationFailed):
            scene.pretence.write_file(requests.WriteFile(opened.handle, 0, memoryview(b"x")), NOBODY)
    scene.on_stage = False
    assert scene.pretence.close_file(requests.CloseFile(opened.handle), NOBODY) == Done()
    assert scene.changed == []


def test_a_rename_finds_its_source_and_answers_once(scene):
    echo = Echo(Call.RENAME, A, None, scene.now, B)
    assert scene.ask(
        echo, requests.GetMetadata(B), requests.GetMetadata(A), requests.RenamePath(B, A), requests.RenamePath(B, A)
    ) == [Metadata(scene.now), "ENOENT", Done(), "EIO"]
    assert scene.changed == []


def test_a_rename_of_what_is_another_file_by_now_is_refused(scene):
    assert scene.ask(Echo(Call.RENAME, A, None, GONE, B), requests.RenamePath(B, A)) == ["EIO"]
    assert scene.ask(Echo(Call.RENAME, B, None, scene.now, A), requests.RenamePath(A, B)) == ["EIO"]
    assert scene.changed == []


def test_directories_that_are_to_go_look_as_they_did(scene):
    directory, below = metadata(mode=stat.S_IFDIR | 0o755), (*B, b"c")
    echo = Echo(Call.REMOVE, below, GONE, None)
    looked, removed = scene.ask(echo, requests.GetMetadata(B), requests.DeleteFile(below), standing={B: directory})
    assert looked == Metadata(directory)
    assert removed == Done()


@pytest.mark.parametrize("request_", FOREIGN, ids=lambda request: type(request).__name__)
@pytest.mark.parametrize("call", [Call.REMOVE, Call.MAKE, Call.WRITE, Call.TOUCH])
def test_whatever_else_would_change_something_is_refused(scene, call, request_):
    assert scene.ask(Echo(call, A, FILE, scene.now), request_) == ["EIO"]
    assert scene.changed == []


def test_other_threads_are_let_through(scene):
    scene.on_stage = False
    looked, removed = scene.ask(Echo(Call.REMOVE, A, GONE, None), requests.GetMetadata(A), requests.DeleteFile(A))
    assert looked.metadata == scene.now
    assert isinstance(removed, Done)
    assert scene.changed == ["DeleteFile"]
