"""What the kernel was shown last, by path."""

from __future__ import annotations

from peer.mount.shown_versions import ShownVersions
from tests.peer.mount.samples import metadata

A, B, C = (b"a",), (b"b",), (b"c",)


def test_only_the_version_shown_last_is_shown():
    shown = ShownVersions()
    assert not shown.is_shown(A, metadata())
    shown.show(A, metadata(size=1))
    assert shown.is_shown(A, metadata(size=1))
    assert not shown.is_shown(B, metadata(size=1))
    shown.show(A, metadata(size=2))
    assert shown.is_shown(A, metadata(size=2))
    assert not shown.is_shown(A, metadata(size=1))


def test_the_same_numbers_on_another_volume_are_another_file():
    shown = ShownVersions()
    shown.show(A, metadata(volume=1))
    assert not shown.is_shown(A, metadata(volume=2))


def test_what_was_shown_first_is_forgotten_first():
    shown = ShownVersions(capacity=2)
    for path in (A, B, A, C):
        shown.show(path, metadata())
    assert [shown.is_shown(path, metadata()) for path in (A, B, C)] == [True, False, True]
