from __future__ import annotations

import time

import pytest

from peer.mount.directory_handles import DirectoryHandles
from peer.mount.identity_map import PreservedIdentity
from peer.mount.local_view import LocalView
from peer.mount.path_table import PathTable
from peer.mount.touched_directories import TouchedDirectories
from schema.replies import DirectoryEntry, DirectoryPage
from tests.peer.mount.samples import metadata

HOME = (b"home", b"directory")


class Agent:
    """A directory, and the pages that were asked for."""

    def __init__(self, names) -> None:
        self.names = sorted(names)
        self.asked = []
        self.page_size = 10_000

    def list_page(self, path, after, limit):
        self.asked.append((path, after, limit))
        names = [name for name in self.names if name > after][: min(limit, self.page_size)]
        entries = tuple(DirectoryEntry(name, 100, 0o100000, metadata(inode=100)) for name in names)
        return DirectoryPage(entries, complete=not names or names[-1] == self.names[-1])


def handles_on(agent, paths=None, **touched):
    view = LocalView(PreservedIdentity(), root_volume=5)
    return DirectoryHandles(agent.list_page, lambda path: 1000 + len(path), view, paths or PathTable(), **touched)


def everything(handles, handle, offset=0):
    """As the kernel reads: on from where the last answer ended, until one is empty."""
    entries = []
    while answer := list(handles.read(handle, offset)):
        entries += answer
        offset = answer[-1][0].next_offset
    return entries


def names(handles, handle, offset=0):
    return [shown.name for shown, _ in everything(handles, handle, offset)]


def many(count):
    return [b"%06d" % number for number in range(count)]


def test_dots_come_first_with_their_inodes():
    handles = handles_on(Agent([b"a"]))
    entries = [shown for shown, _ in handles.read(handles.open(HOME), 0)]
    assert [(entry.name, entry.inode) for entry in entries] == [(b".", 1002), (b"..", 1001), (b"a", 100)]


def test_an_empty_directory_has_the_dots():
    handles = handles_on(Agent([]))
    assert names(handles, handles.open(HOME)) == [b".", b".."]


def test_every_offset_means_the_entry_after_it():
    agent = Agent(many(50))
    agent.page_size = 7
    handles = handles_on(agent)
    handle = handles.open(HOME)
    entries = [shown for shown, _ in everything(handles, handle)]
    for index, entry in enumerate(entries):
        assert names(handles, handle, entry.next_offset) == [later.name for later in entries[index + 1 :]]


def test_a_large_directory_is_read_page_by_page_as_far_as_it_is_wanted():
    agent = Agent(many(100))
    agent.page_size = 10
    handles = handles_on(agent)
    handle = handles.open(HOME)
    assert len(list(handles.read(handle, 0))) == 12
    assert len(agent.asked) == 1
    next(handles.read(handle, 12))
    assert agent.asked[1][1] == b"000009"


def test_no_answer_waits_for_the_agent_once_it_says_something():
    agent = Agent(many(30))
    agent.page_size = 10
    handles = handles_on(agent)
    handle = handles.open(HOME)
    offset = 0
    while True:
        reading = handles.read(handle, offset)
        first = next(reading, None)
        if first is None:
            break
        asked = len(agent.asked)
        offset = [first, *reading][-1][0].next_offset
        assert len(agent.asked) == asked
    assert len(agent.asked) == 3


def test_changes_meanwhile_move_no_offset():
    agent = Agent(many(100))
    agent.page_size = 10
    handles = handles_on(agent)
    handle = handles.open(HOME)
    first = [shown for start in (0, 12, 22) for shown, _ in handles.read(handle, start)]
    agent.names = [name for name in agent.names if name > b"000020"]
    seen = [shown.name for shown in first] + names(handles, handle, first[-1].next_offset)
    assert len(seen) == len(set(seen)) == 102


def test_rewinding_reads_anew():
    agent = Agent([b"a"])
    handles = handles_on(agent)
    handle = handles.open(HOME)
    assert names(handles, handle) == [b".", b"..", b"a"]
    assert len(agent.asked) == 1
    agent.names = [b"b"]
    assert names(handles, handle) == [b".", b"..", b"b"]


def test_attributes_are_handed_out_once():
    agent = Agent(many(20))
    agent.page_size = 10
    handles = handles_on(agent)
    handle = handles.open(HOME)
    fresh = [entry is not None for _, entry in everything(handles, handle, 2)]
    assert fresh == [True] * 20
    again = [shown.metadata is not None for shown, _ in everything(handles, handle, 2)]
    assert again == [False] * 10 + [True] * 10


def test_a_renamed_directory_is_read_on_under_its_new_name():
    agent = Agent(many(20))
    agent.page_size = 10
    paths = PathTable[int]()
    handles = handles_on(agent, paths)
    handle = handles.open(HOME)
    paths.move(HOME, (b"moved",))
    assert len(names(handles, handle)) == 22
    assert agent.asked[-1][0] == (b"moved",)


def test_a_removed_directory_has_what_was_read_of_it():
    agent = Agent(many(5))
    paths = PathTable[int]()
    handles = handles_on(agent, paths)
    handle = handles.open(HOME)
    paths.forget(HOME)
    assert len(names(handles, handle)) == 7


def test_a_directory_was_given_once_each_entry_was_from_the_first_to_the_last():
    handles = handles_on(Agent([b"a", b"b", b"c"]))
    handle = handles.open(HOME)
    for shown, entry in handles.read(handle, 0):
        assert handles.given_since(handle) is None
        if entry is not None:
            handles.gave(handle, shown.next_offset)
    since = handles.given_since(handle)
    assert since is not None
    next(handles.read(handle, 0))
    assert handles.given_since(handle) is None  # it is being read anew


@pytest.mark.parametrize("left_out", [b"a", b"b", b"c"])
def test_a_directory_of_which_an_entry_was_left_out_was_not_given(left_out):
    handles = handles_on(Agent([b"a", b"b", b"c"]))
    handle = handles.open(HOME)
    for shown, entry in handles.read(handle, 0):
        if entry is not None and entry.name != left_out:
            handles.gave(handle, shown.next_offset)
    assert handles.given_since(handle) is None


def test_a_directory_is_not_given_while_more_may_come():
    agent = Agent([b"a", b"b"])
    agent.page_size = 1
    handles = handles_on(agent)
    handle = handles.open(HOME)
    for shown, entry in handles.read(handle, 0):
        if entry is not None:
            handles.gave(handle, shown.next_offset)
    assert handles.given_since(handle) is None


class Touched:
    """Says that something was done when it is told to; what it was asked about."""

    def __init__(self):
        self.at = -1.0
        self.asked = set()

    def __call__(self, path, moment):
        self.asked.add(path)
        return self.at >= moment


def with_attributes(handles, handle, offset=0):
    return [shown.name for shown, entry in handles.read(handle, offset) if entry is not None and shown.metadata]


def test_what_was_listed_before_something_was_done_is_listed_again_before_it_is_read():
    agent, touched = Agent([b"a", b"goes"]), Touched()
    handles = handles_on(agent, touched=touched)
    handle = handles.open(HOME)
    agent.names.remove(b"goes")
    touched.at = time.monotonic()
    assert with_attributes(handles, handle) == [b"a"]
    assert touched.asked == {HOME}
    assert len(agent.asked) == 2


def test_what_was_listed_just_now_is_not_asked_for_again():
    agent = Agent([b"a", b"b"])
    handles = handles_on(agent, touched=Touched())
    assert with_attributes(handles, handles.open(HOME)) == [b"a", b"b"]
    assert len(agent.asked) == 1


def test_what_was_listed_long_ago_is_listed_again_before_it_is_read(monkeypatch):
    agent = Agent([b"a"])
    handles = handles_on(agent)
    handle = handles.open(HOME)
    monkeypatch.setattr("peer.mount.directory_handles._FRESH_SECONDS", -1.0)
    assert not with_attributes(handles, handle)  # nor is the second one of now
    assert len(agent.asked) == 2


def test_once_something_is_done_the_rest_comes_by_name_only():
    agent, touched = Agent(many(5)), Touched()
    handles = handles_on(agent, touched=touched)
    reading = handles.read(handles.open(HOME), 0)
    seen = [next(reading)[1] for _ in range(4)]  # the dots, and two names
    assert all(entry.metadata for entry in seen[2:])
    touched.at = time.monotonic()
    assert [entry for _, entry in reading] == [None] * 3


def test_directories_are_touched_by_what_is_done_in_them():
    now = 10.0
    touched = TouchedDirectories(lambda: now)
    touched.touched((*HOME, b"a"))
    assert touched.since(HOME, 10.0)
    assert not touched.since(HOME, 10.1)
    assert not touched.since((b"home",), 0.0)


def test_what_is_not_remembered_was_touched_as_late_as_what_was_forgotten(monkeypatch):
    monkeypatch.setattr("peer.mount.touched_directories._CAPACITY", 1)
    times = iter((10.0, 20.0))
    touched = TouchedDirectories(lambda: next(times))
    touched.touched((b"one", b"a"))
    touched.touched((b"two", b"a"))
    assert touched.since((b"one",), 10.0)
    assert not touched.since((b"one",), 11.0)
    assert touched.since((b"two",), 20.0)
