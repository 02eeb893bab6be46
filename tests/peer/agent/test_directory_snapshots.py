from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from peer.agent.directory_snapshots import DirectorySnapshots
from peer.agent.metadata_cache import MetadataCache

PATH = (b"export",)
HOUR_NS = 3_600_000_000_000


class Pages:
    """Reads a directory page by page, and counts the scans."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch, max_entries: int = 10_000) -> None:
        self.directory, self.scans, self.now, self.wall_ns = directory, 0, 1000.0, None
        self.cache = MetadataCache(max_entries)
        self.snapshots = DirectorySnapshots(self.cache, clock=lambda: self.now, wall_clock_ns=self._wall_clock)
        genuine = os.scandir

        def scandir(descriptor):
            self.scans += 1
            return genuine(descriptor)

        monkeypatch.setattr(os, "scandir", scandir)

    def _wall_clock(self) -> int:
        """An hour after the directory changed last, unless said otherwise."""
        return self.directory.stat().st_ctime_ns + HOUR_NS if self.wall_ns is None else self.wall_ns

    @contextmanager
    def opened(self) -> Iterator[int]:
        descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def page(self, after: bytes = b"", limit: int = 10, *, metadata: bool = True):
        with self.opened() as descriptor:
            return self.snapshots.page(descriptor, PATH, after=after, limit=limit, metadata=metadata)

    def names(self, limit: int = 10) -> list[bytes]:
        found: list[bytes] = []
        while True:
            page = self.page(found[-1] if found else b"", limit)
            found += [entry.name for entry in page.entries]
            if page.complete:
                return found


@pytest.fixture
def pages(export: Path, monkeypatch: pytest.MonkeyPatch) -> Pages:
    return Pages(export, monkeypatch)


def fill(directory: Path, count: int) -> list[bytes]:
    names = [b"%06d" % (number * 7919 % 1_000_003) for number in range(count)]
    for name in names:
        os.close(os.open(os.fsencode(directory) + b"/" + name, os.O_CREAT | os.O_WRONLY))
    return sorted(names)


def test_a_large_directory_is_scanned_once_for_all_its_pages(pages, export):
    names = fill(export, 2000)
    assert pages.names(limit=37) == names
    assert pages.scans == 1


def test_names_are_in_byte_order(pages, export):
    names = [b"a", b"B", b"\xff", b"\x01", "ü".encode(), b"aa", b"a ", b"~"]
    for name in names:
        os.mkdir(os.fsencode(export) + b"/" + name)
    assert pages.names(limit=3) == sorted(names)


def test_what_stays_is_listed_once_whatever_comes_and_goes(pages, export):
    names = fill(export, 500)
    gone, found, after, number = set(), [], b"", 0
    while True:
        page = pages.page(after, 20)
        found += [entry.name for entry in page.entries]
        if page.complete:
            break
        after = found[-1]
        for name in names[number::97]:
            if name not in gone:
                gone.add(name)
                os.unlink(os.fsencode(export) + b"/" + name)
        os.mkdir(export / f"new{number:03d}")
        os.rename(export / f"new{number:03d}", export / f"{number:03d}moved")
        number += 1
    assert found == sorted(set(found))
    assert set(names) - gone <= set(found)


def test_an_entry_that_is_gone_is_left_out_of_later_pages(pages, export):
    names = fill(export, 30)
    pages.page(limit=10)
    os.unlink(os.fsencode(export) + b"/" + names[15])
    assert names[15] not in [entry.name for entry in pages.page(names[9], 20).entries]
    assert pages.scans == 1


def test_pages_are_full_though_entries_went_away(pages, export):
    names = fill(export, 40)
    pages.page(limit=10)
    for name in names[10:25]:
        os.unlink(os.fsencode(export) + b"/" + name)
    page = pages.page(names[9], 10)
    assert [entry.name for entry in page.entries] == names[25:35]
    assert not page.complete


def test_a_new_listing_sees_what_is_new_at_once(pages, export):
    fill(export, 30)
    pages.wall_ns = export.stat().st_ctime_ns  # the clock of the file system has not ticked since
    for number in range(50):
        name = b"new%d" % number
        os.mkdir(os.fsencode(export) + b"/" + name)
        assert name in pages.names()


def test_a_directory_that_changed_just_now_is_scanned_again_though_its_times_are_the_same(pages, export):
    fill(export, 30)
    pages.wall_ns = export.stat().st_ctime_ns + 2_000_000_000
    pages.page()
    pages.page()
    assert pages.scans == 2


def test_a_quiet_directory_is_not_scanned_again_for_a_new_listing(pages, export):
    names = fill(export, 30)
    assert pages.names() == pages.names() == names
    assert pages.scans == 1
    os.mkdir(export / "new")
    assert b"new" in pages.names()
    assert pages.scans == 2


def test_a_scan_is_not_used_for_ever(pages, export):
    fill(export, 30)
    first = pages.page()
    pages.now += 31
    pages.page(first.entries[-1].name)
    assert pages.scans == 2


def test_attributes_are_always_fresh(pages, export):
    names = fill(export, 30)
    pages.page(limit=10)
    os.truncate(os.fsencode(export) + b"/" + names[12], 12345)
    by_name = {entry.name: entry for entry in pages.page(names[9], 10).entries}
    assert by_name[names[12]].metadata.size == 12345
    assert pages.scans == 1


def test_small_directories_are_not_kept(pages, export):
    fill(export, 10)
    pages.names(limit=10)
    assert pages.cache.counts().names == 0


def test_kept_scans_are_bounded(tmp_path, monkeypatch):
    pages = Pages(tmp_path, monkeypatch, max_entries=100)
    for number in range(5):
        pages.directory = tmp_path / str(number)
        pages.directory.mkdir()
        fill(pages.directory, 40)
        pages.page()
        assert pages.cache.counts().names == sum(each.names for each in pages.cache._listings.values()) <= 100
    assert pages.cache.counts().names == 80
    pages.directory = tmp_path / "huge"
    pages.directory.mkdir()
    names = fill(pages.directory, 101)
    assert pages.names() == names
    assert pages.cache.counts().names == 80


@pytest.mark.parametrize("metadata", [True, False])
def test_every_entry_has_its_inode_and_type(pages, export, metadata):
    (export / "file").touch()
    (export / "dir").mkdir()
    (export / "link").symlink_to("nowhere")
    os.mkfifo(export / "fifo")
    os.mknod(export / "socket", stat.S_IFSOCK | 0o600)
    entries = pages.page(metadata=metadata).entries
    for entry in entries:
        status = os.lstat(os.fsencode(export) + b"/" + entry.name)
        assert (entry.inode, entry.type) == (status.st_ino, stat.S_IFMT(status.st_mode))
        assert (entry.metadata is not None) == metadata
    assert len(entries) == 5
