"""Random operations on two file systems at once: the model in memory, and a real one. They must agree on all of them.

The one rule: what is compared is what a program could rely on, which is every reply and errno, and after each step the
whole tree with its types, modes, sizes, link counts, set times and which names are one file. Names come from {a, b},
so that operations collide; the same sequence is run each time.
"""

from __future__ import annotations

import os
import pathlib
import stat
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from peer.errors import OperationFailed
from peer.filesystem import perform
from schema.attributes import FileMetadata
from schema.failure_codes import STALE_HANDLE, errno_of
from schema.replies import (
    AnyReply,
    DirectoryPage,
    Metadata,
    OpenedFile,
)
from schema.requests import (
    CloseFile,
    CopyRange,
    CreateDir,
    CreateFile,
    CreateLink,
    CreateNode,
    CreateSymlink,
    DeleteFile,
    GetMetadata,
    GetXattr,
    ListDir,
    ListXattrs,
    LockFile,
    LockMode,
    LockStyle,
    OpenFile,
    ReadFile,
    ReadSymlink,
    RemoveDir,
    RemoveXattr,
    RenamePath,
    RequestBody,
    SetMetadata,
    SetXattr,
    WriteFile,
)
from schema.requests import TestLock as AskForLock  # pytest takes any Test* of a module for tests
from tests.conformance.comparison import NOT_A_FILE, attributes, comparable, one_of_these
from tests.conformance.driver import Files
from tests.conformance.implementations import IMPLEMENTATIONS, Factory
from tests.conformance.memory_filesystem import memory_filesystem

Side = int
Path = tuple[bytes, ...]
Place = int | Path
Asking = Callable[[Side], RequestBody]
MODEL, REAL = 0, 1
REAL_ONES = [name for name in IMPLEMENTATIONS if name != "memory"]
NEVER_GIVEN = 2**40
SOON_MS = 100

PATH_FIELDS = ("path", "existing", "source", "destination")

names = st.sampled_from([b"a", b"b"])
paths = st.lists(names, min_size=1, max_size=2).map(tuple)
"""Of at most two names; renaming makes the tree deeper than that."""
places = st.integers(0, 9) | paths
"""Any path, or the number of one that is there."""
modes = st.sampled_from([0o700, 0o750, 0o755, 0o1777])
"""None that an owner without privileges could not live with."""
open_flags = st.sampled_from([os.O_RDONLY, os.O_WRONLY, os.O_RDWR]).flatmap(
    lambda access: st.sampled_from([0, os.O_APPEND, os.O_TRUNC]).map(lambda more: access | more)
)
create_flags = st.sampled_from([0, os.O_EXCL, os.O_TRUNC, os.O_APPEND]).map(lambda more: os.O_RDWR | more)
rename_flags = st.sampled_from([0, 0, 0, 1, 2])
recent_handles = st.integers(0, 2)
"""Counted back from the latest one."""
offsets = st.integers(0, 20)
data = st.binary(max_size=8)
set_times = st.sampled_from([5, -1_000_000_001, 1_234_567_890_123_456_789 // 10])
xattr_names = st.sampled_from([b"user.a", b"user.b", b"nonsense"])
owners = st.integers(1, 2)
lock_modes = st.sampled_from(LockMode)


class Twins(RuleBasedStateMachine):
    """Does each step on both and compares. A subclass names the factory of the real one."""

    factory: Factory

    def __init__(self) -> None:
        super().__init__()
        with ExitStack() as opened:
            directory = opened.enter_context(tempfile.TemporaryDirectory())
            subject = opened.enter_context(type(self).factory(pathlib.Path(directory)))
            self.resources = opened.pop_all()
        self.xattrs = "xattrs" not in subject.lacks
        self.sides = (Files(memory_filesystem()), Files(subject.filesystem, subject.root))
        self.handles: list[tuple[int, int]] = []
        self.closed = (NEVER_GIVEN, NEVER_GIVEN)

    def teardown(self) -> None:
        with self.resources:
            self.compare_content()
            while self.handles:
                self.close(0)

    def ask(self, side: Side, request: RequestBody) -> AnyReply | str:
        """The reply, or the errno's name."""
        files = self.sides[side]
        try:
            return perform(files.filesystem, request, files.caller)
        except OperationFailed as refusal:
            return refusal.code if refusal.code == STALE_HANDLE else os.strerror(errno_of(refusal.code))

    def both(self, request: Asking) -> tuple[AnyReply | str, AnyReply | str]:
        """Ask both and compare. `request` says what to ask of a side, whose handles are its own."""
        asked = request(REAL)
        replies = self.ask(MODEL, request(MODEL)), self.ask(REAL, asked)
        expected, found = map(comparable, replies)
        if found != expected:
            says = f"{asked}: the model says {expected}, the file system {found}"
            assert one_of_these(asked, expected, found) or (found in NOT_A_FILE and self.meets_a_link(asked)), says
        return replies

    def meets_a_link(self, asked: RequestBody) -> bool:
        """Whether a path of the request has a symbolic link in it, which a client's kernel would have followed."""
        places = [getattr(asked, field)[len(self.sides[REAL].root) :] for field in PATH_FIELDS if hasattr(asked, field)]
        model = self.tree(MODEL)
        above = {place[:depth] for place in places for depth in range(1, len(place) + 1)}
        return any(stat.S_ISLNK(model[path].mode) for path in above & set(model))

    def path(self, place: Place) -> Path:
        """A number stands for a path that is there, if any is."""
        if not isinstance(place, int):
            return place
        there = sorted(self.tree(MODEL))
        return there[place % len(there)] if there else (b"a",)

    def by_path(self, request: Callable[..., RequestBody], *places: Place, **more: object) -> None:
        """A request whose first fields are paths."""
        found = [self.path(place) for place in places]
        self.both(lambda side: request(*(self.sides[side].root + path for path in found), **more))

    def opening(self, request: Asking) -> None:
        model, real = self.both(request)
        if isinstance(model, OpenedFile) and isinstance(real, OpenedFile):
            self.handles.append((model.handle, real.handle))

    def handle(self, back: int) -> tuple[int, int]:
        """The open file that was opened `back` files ago; one that is closed where there are not so many."""
        return self.handles[-1 - back] if back < len(self.handles) else self.closed

    def are_one_file(self, one: tuple[int, int], other: tuple[int, int]) -> bool:
        found = [self.ask(MODEL, GetMetadata(handle=handle[MODEL])) for handle in (one, other)]
        inodes = [reply.metadata.inode for reply in found if isinstance(reply, Metadata)]
        return inodes[:1] == inodes[1:]

    # -- something to begin with

    @initialize(
        kinds=st.tuples(*[st.sampled_from([CreateDir, CreateNode, None])] * 2),
        below=st.lists(st.tuples(names, names), min_size=1, max_size=2),
        opened=st.lists(places, min_size=1, max_size=3),
    )
    def begin(self, kinds: tuple[Any, ...], below: list[tuple[bytes, bytes]], opened: list[Place]) -> None:
        for name, kind in zip((b"a", b"b"), kinds, strict=True):
            if kind is not None:
                self.by_path(kind, (name,), mode=0o700)
        for path in below:
            self.create(path, os.O_RDWR, 0o600)
        for place in opened:
            self.open(place, os.O_RDWR, 0)

    # -- names

    @rule(path=paths, mode=modes)
    def mkdir(self, path: Path, mode: int) -> None:
        self.by_path(CreateDir, path, mode=mode)

    @rule(path=places)
    def rmdir(self, path: Place) -> None:
        self.by_path(RemoveDir, path)

    @rule(path=places)
    def unlink(self, path: Place) -> None:
        self.by_path(DeleteFile, path)

    @rule(source=places, destination=places, flags=rename_flags)
    def rename(self, source: Place, destination: Place, flags: int) -> None:
        self.by_path(RenamePath, source, destination, flags=flags)

    @rule(existing=places, path=paths)
    def link(self, existing: Place, path: Path) -> None:
        self.by_path(CreateLink, existing, path)

    @rule(path=paths, pointing_to=st.sampled_from([b"a", b"../b", b"\xff"]))
    def symlink(self, path: Path, pointing_to: bytes) -> None:
        self.by_path(CreateSymlink, path, target=pointing_to)

    @rule(path=places)
    def readlink(self, path: Place) -> None:
        self.by_path(ReadSymlink, path)

    @rule(path=paths, kind=st.sampled_from([stat.S_IFREG, stat.S_IFIFO]), mode=modes)
    def mknod(self, path: Path, kind: int, mode: int) -> None:
        self.by_path(CreateNode, path, mode=kind | mode)

    @rule(place=places, limit=st.integers(1, 3))
    def list(self, place: Place, limit: int) -> None:
        # From the beginning: a page that nobody read up to may show the directory as it was a while ago.
        path, page = self.path(place), None
        while page is None or not page.complete:
            after = page.entries[-1].name if page else b""
            reply, _ = self.both(lambda side: ListDir(self.sides[side].root + path, after, limit))  # noqa: B023
            if not isinstance(reply, DirectoryPage):
                break
            page = reply

    # -- attributes

    @rule(path=places, mode=modes | st.none(), size=offsets | st.none(), mtime_ns=set_times | st.none())
    def change(self, path: Place, mode: int | None, size: int | None, mtime_ns: int | None) -> None:
        if mode is None and size is None and mtime_ns is None:
            self.by_path(GetMetadata, path)
        elif sum(value is not None for value in (mode, size, mtime_ns)) == 1:
            # One at a time: how much of a request was done when a later part fails is not promised.
            self.by_path(SetMetadata, path, mode=mode, size=size, mtime_ns=mtime_ns)

    @rule(back=recent_handles, size=offsets, mtime_ns=set_times)
    def change_open_file(self, back: int, size: int, mtime_ns: int) -> None:
        handle = self.handle(back)
        self.both(lambda side: GetMetadata(handle=handle[side]))
        self.both(lambda side: SetMetadata(handle=handle[side], mtime_ns=mtime_ns))

    @rule(path=places, name=xattr_names, value=data, flags=st.integers(0, 2), removed=st.booleans())
    def xattr(self, path: Place, name: bytes, value: bytes, flags: int, removed: bool) -> None:
        if self.xattrs:
            self.by_path(SetXattr, path, name=name, value=value, flags=flags)
            self.by_path(GetXattr, path, name=name)
            if removed:
                self.by_path(RemoveXattr, path, name=name)

    # -- open files

    @rule(path=places, flags=open_flags, first_bytes=st.sampled_from([0, 4]))
    def open(self, path: Place, flags: int, first_bytes: int) -> None:
        found = self.path(path)
        self.opening(lambda side: OpenFile(self.sides[side].root + found, flags, first_bytes))

    @rule(path=paths, flags=create_flags, mode=modes)
    def create(self, path: Path, flags: int, mode: int) -> None:
        self.opening(lambda side: CreateFile(self.sides[side].root + path, flags, mode))

    @rule(back=recent_handles)
    def close(self, back: int) -> None:
        if back < len(self.handles):
            self.closed = handle = self.handles.pop(-1 - back)
            self.both(lambda side: CloseFile(handle[side]))

    @rule(back=recent_handles, offset=offsets, written=data)
    def write(self, back: int, offset: int, written: bytes) -> None:
        handle = self.handle(back)
        self.both(lambda side: WriteFile(handle[side], offset, memoryview(written)))

    @rule(back=recent_handles, offset=offsets, size=offsets)
    def read(self, back: int, offset: int, size: int) -> None:
        handle = self.handle(back)
        self.both(lambda side: ReadFile(handle[side], offset, size))

    @rule(back=recent_handles, to_back=recent_handles, offset=offsets, to_offset=offsets, length=st.integers(1, 20))
    def copy(self, back: int, to_back: int, offset: int, to_offset: int, length: int) -> None:
        source, destination = self.handle(back), self.handle(to_back)
        # Within one file the end moves while bytes are copied, and how many come at a time is not promised.
        if not self.are_one_file(source, destination):
            self.both(lambda side: CopyRange(source[side], offset, destination[side], to_offset, length))

    @rule(back=recent_handles, owner=owners, mode=lock_modes, start=st.integers(0, 3), length=st.integers(0, 3))
    def lock(self, back: int, owner: int, mode: LockMode, start: int, length: int) -> None:
        handle = self.handle(back)
        self.both(lambda side: LockFile(handle[side], owner, LockStyle.FCNTL, mode, start, length))

    @rule(back=recent_handles, mode=lock_modes)
    def flock(self, back: int, mode: LockMode) -> None:
        # A FUSE mount hears of a last close, which gives the lock back, a little later: it may wait.
        handle = self.handle(back)
        self.both(lambda side: LockFile(handle[side], 1, LockStyle.FLOCK, mode, wait_ms=side * SOON_MS))

    @rule(back=recent_handles, owner=owners, start=st.integers(0, 3), mode=lock_modes)
    def ask_for_lock(self, back: int, owner: int, start: int, mode: LockMode) -> None:
        # One byte wide, so that at most one lock of the one other owner stands in the way.
        if mode is not LockMode.UNLOCK:
            handle = self.handle(back)
            self.both(lambda side: AskForLock(handle[side], owner, mode, start, 1))

    # -- the whole

    def tree(self, side: Side) -> dict[Path, FileMetadata]:
        found: dict[Path, FileMetadata] = {}
        unread: list[Path] = [()]
        while unread:
            path = unread.pop()
            for entry in self.sides[side].entries(path):
                assert entry.metadata is not None
                found[(*path, entry.name)] = entry.metadata
                if stat.S_ISDIR(entry.type):
                    unread.append((*path, entry.name))
        return found

    @invariant()
    def trees_are_the_same(self) -> None:
        model, real = self.tree(MODEL), self.tree(REAL)
        assert {path: attributes(found) for path, found in real.items()} == {
            path: attributes(found) for path, found in model.items()
        }
        for path, found in model.items():
            one_file = {other for other in model if model[other].inode == found.inode}
            assert one_file == {other for other in real if real[other].inode == real[path].inode}

    def compare_content(self) -> None:
        for path, found in self.tree(MODEL).items():
            if self.xattrs:
                self.by_path(ListXattrs, path)
            if stat.S_ISLNK(found.mode):
                self.by_path(ReadSymlink, path)
            elif stat.S_ISREG(found.mode):
                self.by_path(OpenFile, path, flags=os.O_RDONLY, first_bytes=4096)


@pytest.mark.timeout(300)  # seconds when they agree; finding the shortest way to a disagreement takes longer
@pytest.mark.parametrize("factory", REAL_ONES, indirect=True)
def test_the_model_and_the_file_system_agree(factory: Factory, request: pytest.FixtureRequest) -> None:
    class OfThisImplementation(Twins):
        pass

    OfThisImplementation.factory = staticmethod(factory)
    run_state_machine_as_test(
        OfThisImplementation,
        settings=settings(
            max_examples=IMPLEMENTATIONS[request.node.callspec.params["factory"]].sequences,
            stateful_step_count=40,
            phases=[Phase.generate, Phase.shrink],
            derandomize=True,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
