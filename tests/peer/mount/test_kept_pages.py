"""When the kernel's pages outlive a close."""

from __future__ import annotations

import pytest

from peer.mount.kept_pages import KeptPages
from schema.replies import OpenedFile
from tests.peer.mount.samples import metadata

A, B = (b"a",), (b"b",)
CTIME = 10**18
LATER = CTIME + 5 * 10**9


@pytest.fixture
def pages():
    return KeptPages(capacity=2)


def opened(handle, now_ns=LATER, **changes):
    return OpenedFile(handle, metadata(**{"ctime_ns": CTIME, **changes}), 7, now_ns=now_ns)


def test_pages_of_the_same_quiet_version_are_kept(pages):
    assert not pages.opened(A, opened(1), ())
    assert pages.opened(A, opened(2), (1,))
    assert pages.opened(A, opened(3, now_ns=0), ()), "one that is opened here says no time"


@pytest.mark.parametrize("change", [{"size": 9}, {"mtime_ns": 9}, {"ctime_ns": CTIME + 1}, {"inode": 9}, {"volume": 9}])
def test_pages_of_another_version_are_dropped(pages, change):
    pages.opened(A, opened(1), ())
    assert not pages.opened(A, opened(2, **change), ())


def test_what_was_read_of_a_file_just_changed_may_be_of_before(pages):
    """A second change in the same tick of the clock leaves the same times."""
    pages.opened(A, opened(1, now_ns=CTIME + 1), ())
    assert not pages.opened(A, opened(2), ())
    assert pages.opened(A, opened(3), ())


def test_an_open_that_changes_the_file_begins_anew(pages):
    pages.opened(A, opened(1), ())
    assert not pages.opened(A, opened(2), (), changed=True)
    assert not pages.opened(A, opened(3), ())


def test_while_two_files_are_open_by_one_name_nothing_is_kept(pages):
    pages.opened(A, opened(1), ())
    assert not pages.opened(A, opened(2, inode=9), (1,))
    assert not pages.opened(A, opened(3, inode=9), (1, 2))
    pages.closed(1)
    assert not pages.opened(A, opened(4, inode=9), (2, 3)), "the first one's pages may still be there"
    assert pages.opened(A, opened(5, inode=9), (2, 3, 4))


def test_names_are_forgotten_in_the_order_of_their_opens(pages):
    for handle, path in enumerate((A, B, (b"c",)), 1):
        pages.opened(path, opened(handle), ())
    assert not pages.opened(A, opened(4), ())
