from __future__ import annotations

import pytest

from peer.mount.directory_handles import DirectoryHandles
from peer.mount.identity_map import PreservedIdentity
from peer.mount.local_view import LocalView
from peer.mount.path_table import PathTable
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


def handles_on(agent, paths=None):
    view = LocalView(PreservedIdentity(), root_volume=5)
    return DirectoryHandles(agent.list_page, lambda path: 1000 + len(path), view, paths or PathTable())


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
