from __future__ import annotations

import errno
import logging
import os
import queue
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from peer.agent import file_data
from peer.agent.access_policy import AccessRules, ClientRule
from peer.agent.confined_root import walk_by_component, walk_by_openat2
from peer.agent.dispatcher import Dispatcher, Limits
from peer.errors import OperationFailed
from schema.envelope import Address
from schema.failure_codes import MALFORMED, STALE_HANDLE
from schema.replies import AnyReply, Done, Failure
from schema.requests import (
    Attach,
    Caller,
    Cancel,
    CheckAccess,
    CloseFile,
    CreateFile,
    GetMetadata,
    KeepAlive,
    OpenFile,
    ReadFile,
    StatVolume,
)
from tests.conformance.driver import Files, refused
from tests.peer.agent.conftest import LAPTOP, ME, PHONE, components, open_descriptors


def ask(dispatcher, request, client: Address = LAPTOP, caller: Caller = ME) -> AnyReply:
    """The one answer to `request`."""
    answers: queue.SimpleQueue[AnyReply] = queue.SimpleQueue()
    dispatcher.perform(client, 1, request, caller, answers.put)
    answer = answers.get(timeout=10)
    assert answers.empty(), "answered twice"
    return answer


def test_attaching_says_who_the_agent_is(dispatcher, export):
    attached = ask(dispatcher, Attach(components(export)))
    assert (attached.boot, attached.uid, attached.gid) == (7, os.geteuid(), os.getegid())
    assert (attached.preserves_identity, attached.read_only) == (False, False)
    assert attached.metadata.inode == export.stat().st_ino


def test_only_a_directory_within_the_exports_can_be_attached(dispatcher, export):
    (export / "f").touch()
    assert ask(dispatcher, Attach((*components(export), b"f"))).code == "ENOTDIR"
    assert ask(dispatcher, Attach((*components(export), b"nothing"))).code == "ENOENT"
    refusal = ask(dispatcher, Attach(()))
    assert refusal.code == "EACCES"
    assert refusal.message.startswith("/ is outside")


@pytest.mark.parametrize("name", [b"", b".", b"..", b"a/b", b"a\0b"])
def test_what_is_no_name_is_refused(dispatcher, export, name):
    for path in ((*components(export), name), (*components(export), name, b"f")):
        assert ask(dispatcher, GetMetadata(path)).code == "EINVAL"
        assert ask(dispatcher, CreateFile(path, 0, 0o600)).code == "EINVAL"
    assert list(export.iterdir()) == []


def test_what_is_too_long_is_refused(dispatcher, export):
    assert ask(dispatcher, GetMetadata((*components(export), b"n" * 256))).code == "ENAMETOOLONG"
    assert ask(dispatcher, GetMetadata((*components(export), *[b"n" * 255] * 300))).code == "ENAMETOOLONG"
    assert ask(dispatcher, GetMetadata((*components(export), *[b"n"] * 3000))).code == "ENAMETOOLONG"


def test_a_handle_is_the_clients_own(dispatcher, export):
    (export / "f").write_bytes(b"content")
    opened = ask(dispatcher, OpenFile((*components(export), b"f"), os.O_RDONLY))
    for other in (PHONE, Address("laptop", 2)):
        assert ask(dispatcher, ReadFile(opened.handle, 0, 10), other).code == STALE_HANDLE
        assert ask(dispatcher, CloseFile(opened.handle), other).code == STALE_HANDLE
        assert ask(dispatcher, GetMetadata((), opened.handle), other).code == STALE_HANDLE
    assert bytes(ask(dispatcher, ReadFile(opened.handle, 0, 10)).data) == b"content"


def test_keeping_alive_and_cancelling_nothing_are_answered(dispatcher):
    assert ask(dispatcher, KeepAlive()) == Done()
    assert ask(dispatcher, Cancel(12345)) == Done()


def test_what_is_no_operation_is_answered_too(dispatcher):
    class Unheard(msgspec.Struct):
        pass

    assert ask(dispatcher, Unheard()).code == MALFORMED


def test_a_fault_of_our_own_is_answered_and_logged(dispatcher, files, monkeypatch, caplog):
    handle = files.create(b"f")

    def broken(*_):
        raise KeyError("a bug")

    monkeypatch.setattr(file_data, "read", broken)
    with caplog.at_level(logging.ERROR):
        assert ask(dispatcher, ReadFile(handle, 0, 10)).code == "EIO"
    assert "a bug" in caplog.text


def test_numbers_that_no_system_call_takes_are_the_clients_fault(dispatcher, files, caplog):
    handle = files.create(b"f")
    files.write(handle, 0, b"content")
    for request in (ReadFile(handle, 2**63 - 1, 10), ReadFile(handle, 2**64, 10), GetMetadata((), 2**64 - 1)):
        assert isinstance(ask(dispatcher, request), Failure) or ask(dispatcher, request).data == b""
    assert not caplog.records


def test_an_answer_that_does_not_get_through_harms_nobody(dispatcher, export, caplog):
    def broken(_):
        raise OSError(errno.EPIPE, "")

    dispatcher.perform(LAPTOP, 1, Attach(components(export)), ME, broken)
    assert "did not get through" in caplog.text
    assert ask(dispatcher, KeepAlive()) == Done()


# --- bounds and leaks


def test_open_files_of_a_client_are_bounded(start, export):
    dispatcher = start(AccessRules((components(export),)), limits=Limits(open_files_per_client=2))
    files = Files(dispatcher.view(LAPTOP), components(export), ME)
    files.create(b"a")
    files.create(b"b")
    with refused("EMFILE"):
        files.create(b"c")
    assert not (export / "c").exists(), "refused, but done all the same"
    (export / "c").write_bytes(b"content")
    with refused("EMFILE"):
        files.open(b"c", os.O_RDWR | os.O_TRUNC)
    assert (export / "c").read_bytes() == b"content"
    Files(dispatcher.view(PHONE), components(export), ME).create(b"d")


@pytest.mark.parametrize("walk", [walk_by_openat2, walk_by_component])
def test_no_operation_leaks_a_descriptor(start, export, walk):
    dispatcher = start(AccessRules((components(export),)), walk=walk)
    files = Files(dispatcher.view(LAPTOP), components(export), ME)
    files.mkdir(b"d")
    files.symlink(b"d", b"l")
    os.mkfifo(export / "fifo")
    before = open_descriptors()
    for _ in range(2):
        handle = files.create(b"d/f")
        files.change(b"d/f", mode=0o600, size=5, mtime_ns=7)
        files.rename(b"d/f", b"d/g")
        files.link(b"d/g", b"d/h")
        files.names(b"d")
        for where in (b"l/f", b"fifo", b"l", b"d", b"nothing/f", b"d/g/f"):
            for attempt in (files.open, files.create, files.names, files.rmdir, files.readlink, files.xattrs):
                with suppress(OperationFailed):  # it may be refused, it may be done: only what it leaves matters
                    attempt(where)
        files.unlink(b"d/g")
        files.unlink(b"d/h")
        files.close(handle)
        files.close_all()
    assert open_descriptors() == before


def test_a_client_that_is_gone_leaves_nothing_open(dispatcher, files):
    before = open_descriptors()
    handles = [files.create(b"f%d" % number) for number in range(5)]
    dispatcher.client_gone(LAPTOP)
    assert open_descriptors() == before
    for handle in handles:
        with refused(STALE_HANDLE):
            files.read(handle)
    files._handles.clear()


class SlowOpen:
    """A file system that takes its time to open a file again, from when `in_call` until `go_on`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.in_call, self.go_on = threading.Event(), threading.Event()
        genuine = os.open

        def slow(path, *arguments, **more):
            descriptor = genuine(path, *arguments, **more)
            if isinstance(path, bytes) and path.startswith(b"/proc/self/fd/"):
                self.in_call.set()
                assert self.go_on.wait(10)
            return descriptor

        monkeypatch.setattr(os, "open", slow)


@pytest.mark.parametrize("returns", [False, True], ids=["for good", "and returns"])
def test_what_a_client_opens_while_it_goes_is_closed_unless_it_returns(dispatcher, export, monkeypatch, returns):
    (export / "f").touch()
    before = open_descriptors()
    slow = SlowOpen(monkeypatch)
    request = OpenFile((*components(export), b"f"), os.O_RDONLY)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(ask, dispatcher, request)
        assert slow.in_call.wait(10)
        dispatcher.client_gone(LAPTOP)
        if returns:
            ask(dispatcher, KeepAlive())
        slow.go_on.set()
        handle = answer.result(10).handle
    read = ask(dispatcher, ReadFile(handle, 0, 1))
    if returns:
        assert read.data == b""
        dispatcher.client_gone(LAPTOP)
    else:
        assert read.code == STALE_HANDLE
    assert open_descriptors() == before


def test_closing_closes_everything(export):
    before, threads = open_descriptors(), threading.active_count()
    dispatcher = Dispatcher(AccessRules((components(export), components(export.parent))), boot=1)
    Files(dispatcher.view(LAPTOP), components(export), ME).create(b"f")
    dispatcher.close()
    assert (open_descriptors(), threading.active_count()) == (before, threads)


def test_an_export_that_is_not_there_is_named_and_nothing_stays_open(start, export):
    before = open_descriptors()
    with pytest.raises(FileNotFoundError, match="nothing-here"):
        start(AccessRules((components(export), components("/nothing-here"))))
    assert open_descriptors() == before


def test_many_threads_at_once(dispatcher, export):
    def work(number: int) -> None:
        files = Files(dispatcher.view(Address("laptop", number)), components(export), ME)
        for step in range(30):
            name = b"%d-%d" % (number, step)
            files.put(name, name * 100)
            assert files.get(name) == name * 100
            files.rename(name, name + b"x")
            files.unlink(name + b"x")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(1, 9)))
    assert list(export.iterdir()) == []


# --- what the rules forbid


@pytest.fixture
def guarded(start, export: Path):
    for name in ("free", "fixed"):
        (export / name).mkdir()
        (export / name / "f").write_bytes(name.encode())
    rules = AccessRules((components(export),), (components(export / "fixed"),), (ClientRule("phone", read_only=True),))
    return start(rules)


def test_what_is_read_only_can_be_read_and_not_changed(guarded, export):
    files = Files(guarded.view(LAPTOP), components(export), ME)
    assert files.get(b"fixed/f") == b"fixed"
    handle = files.open(b"fixed/f", os.O_RDONLY)
    files.flock(handle, 0)
    before = snapshot(export / "fixed")
    for attempt in (
        lambda: files.open(b"fixed/f", os.O_WRONLY),
        lambda: files.open(b"fixed/f", os.O_RDONLY | os.O_TRUNC),
        lambda: files.create(b"fixed/new"),
        lambda: files.create(b"fixed/f", os.O_RDWR),
        lambda: files.change(b"fixed/f", mode=0o777),
        lambda: files.change(handle, mode=0o777),
        lambda: files.change(handle, size=0),
        lambda: files.change(b"fixed", mtime_ns=1),
        lambda: files.mkdir(b"fixed/new"),
        lambda: files.symlink(b"x", b"fixed/new"),
        lambda: files.mknod(b"fixed/new", 0o100600),
        lambda: files.unlink(b"fixed/f"),
        lambda: files.rmdir(b"fixed"),
        lambda: files.rename(b"fixed/f", b"free/g"),
        lambda: files.rename(b"free/f", b"fixed/f"),
        lambda: files.rename(b"free/f", b"fixed/f", 2),
        lambda: files.rename(b"fixed", b"free/fixed"),
        lambda: files.link(b"fixed/f", b"free/g"),
        lambda: files.link(b"free/f", b"fixed/g"),
        lambda: files.setxattr(b"fixed/f", b"user.x", b""),
        lambda: files.setxattr(handle, b"user.x", b""),
        lambda: files.removexattr(b"fixed/f", b"user.x"),
        lambda: files.access(b"fixed/f", os.W_OK),
    ):
        with refused("EROFS"):
            attempt()
    with refused("EBADF"):
        files.write(handle, 0, b"x")
    with refused("EBADF"):
        files.allocate(handle, 0, 0, 10)
    with refused("EEXIST"):
        files.create(b"fixed/f", os.O_RDONLY | os.O_EXCL)
    files.close(files.create(b"fixed/f", os.O_RDONLY))
    files.access(b"fixed/f", os.R_OK)
    assert snapshot(export / "fixed") == before
    files.close_all()


def snapshot(directory: Path) -> list[tuple[str, os.stat_result]]:
    paths = [directory, *sorted(directory.rglob("*"))]
    return [(str(path), (*path.lstat()[:7], path.lstat().st_ctime_ns)) for path in paths]


def test_a_directory_that_holds_something_read_only_stays_where_it_is(start, export):
    (export / "a" / "b" / "fixed").mkdir(parents=True)
    (export / "other").mkdir()
    dispatcher = start(AccessRules((components(export),), (components(export / "a" / "b" / "fixed"),)))
    files = Files(dispatcher.view(LAPTOP), components(export), ME)
    for attempt in (
        lambda: files.rename(b"a", b"c"),
        lambda: files.rename(b"a/b", b"c"),
        lambda: files.rename(b"other", b"a/b", 2),
    ):
        with refused("EROFS"):
            attempt()
    files.put(b"a/b/free")


def test_a_client_may_be_read_only_as_a_whole(guarded, export):
    assert ask(guarded, Attach(components(export)), PHONE).read_only
    assert not ask(guarded, Attach(components(export)), LAPTOP).read_only
    assert ask(guarded, Attach(components(export / "fixed")), LAPTOP).read_only
    assert ask(guarded, CreateFile((*components(export), b"free", b"x"), os.O_RDWR, 0o600), PHONE).code == "EROFS"
    assert ask(guarded, OpenFile((*components(export), b"free", b"f"), os.O_RDWR), PHONE).code == "EROFS"
    assert ask(guarded, CheckAccess((*components(export), b"free", b"f"), os.W_OK), PHONE).code == "EROFS"


def test_a_read_only_volume_says_so(guarded, export):
    flags = {name: ask(guarded, StatVolume(components(export / name))).statistics.flags for name in ("free", "fixed")}
    assert flags["fixed"] & os.ST_RDONLY
    assert not flags["free"] & os.ST_RDONLY


def test_nothing_goes_from_one_export_to_another(start, export):
    for name in ("one", "two"):
        (export / name).mkdir()
        (export / name / "f").touch()
    dispatcher = start(AccessRules((components(export / "one"), components(export / "two"))))
    files = Files(dispatcher.view(LAPTOP), components(export), ME)
    for attempt in (
        lambda: files.rename(b"one/f", b"two/g"),
        lambda: files.rename(b"one/f", b"two/f", 2),
        lambda: files.link(b"one/f", b"two/g"),
    ):
        with refused("EXDEV"):
            attempt()
    with refused("EACCES"):
        files.rename(b"one/f", b"three/f")
    source, target = files.open(b"one/f"), files.open(b"two/f")
    files.write(source, 0, b"content")
    assert files.copy(source, 0, target, 0, 7) == 7
    files.close_all()
    assert (export / "two" / "f").read_bytes() == b"content"


def test_the_root_of_an_export_stays(dispatcher, files, export):
    for attempt in (
        lambda: files.rmdir(b""),
        lambda: files.unlink(b""),
        lambda: files.rename(b"", b"x"),
        lambda: files.mkdir(b""),
    ):
        with refused("EBUSY"):
            attempt()
    assert export.is_dir()
