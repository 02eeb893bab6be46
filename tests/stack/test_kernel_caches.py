"""What the kernel answers by itself, and that it does not answer what is no longer so; timeouts are half an hour."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import re
import select
import signal
from pathlib import Path

import pytest

from tests.stack.hands import Hands
from tests.stack.processes import until
from tests.stack.world import LAPTOP

pytestmark = pytest.mark.timeout(120)
SHORT = {"metadata": 1.5, "data": 1.5}
HEARTBEAT = 0.3


@pytest.fixture
def mounted(stack):
    """A mount of a small tree whose feed is heard often."""
    (stack.export / "d" / "below").mkdir(parents=True)
    (stack.export / "d" / "below" / "file").write_text("deep")
    for name in ("file", "other", "goes"):
        (stack.export / name).write_text(name)
    (stack.export / "link").symlink_to("file")
    stack.write_agent(feed={"heartbeat_seconds": HEARTBEAT})
    stack.write_client(LAPTOP, timeouts=SHORT)
    stack.start()
    return stack.mount()


class Kernel:
    """Asks the kernel while the program behind the mount is stopped."""

    def __init__(self, mounted, hands):
        self._mounted, self._hands = mounted, hands

    def answers(self, function, *arguments):
        """Whether it needs nobody for that. What it says, or that it says no, is dropped."""
        hands = self._hands
        self._mounted.program.signal(signal.SIGSTOP)
        try:
            hands.ask(function, *arguments)
            until("answered or waiting", lambda: _said(hands) or _waits(hands))
            return _said(hands)
        finally:
            self._mounted.program.signal(signal.SIGCONT)
            assert hands.process.stdout.readline()

    def learns(self, function, *arguments):
        """Wait until it needs nobody for that."""
        until(f"the kernel knows {arguments}", lambda: self.answers(function, *arguments))


def _waits(hands):
    """For the program, or for somebody who waits for it: not for orders, and not running."""
    return not re.fullmatch(r"0|\w*pipe_read", Path(f"/proc/{hands.process.pid}/wchan").read_text())


def _said(hands):
    return bool(select.select([hands.process.stdout], [], [], 0)[0])


@pytest.fixture
def kernel(mounted, hands):
    return Kernel(mounted, hands)


def test_a_directory_that_is_listed_again_is_as_it_is(mounted, kernel, stack):
    kernel.learns(os.lstat, mounted.path / "file")
    for _ in range(3):  # from the second time on by name only
        assert sorted(os.listdir(mounted.path)) == sorted(os.listdir(stack.export))
    for name in os.listdir(stack.export):
        assert kernel.answers(os.lstat, mounted.path / name)
    (stack.export / "new").write_text("12345")
    (stack.export / "file").write_text("longer than before")
    (stack.export / "goes").unlink()
    until("the feed is heard", lambda: sorted(os.listdir(mounted.path)) == sorted(os.listdir(stack.export)))
    until("the feed is heard", lambda: looks_of(mounted.path) == looks_of(stack.export))


def looks_of(directory):
    found = {name: os.lstat(directory / name) for name in os.listdir(directory)}
    return {name: (it.st_mode, it.st_size, it.st_mtime_ns) for name, it in found.items()}


def absent(path):
    return not os.path.lexists(path)


NAMES = ("file", "other", "goes", "link", "d", "d/below", "d/below/file", "new", "newdir", "moved", "moved/below/file")
CHANGES = {
    "write": (lambda top: (top / "file").write_text("longer than before"), lambda top: _size(top / "file") == 18),
    "create": (lambda top: (top / "new").touch(), lambda top: _size(top / "new") == 0),
    "create a directory": (lambda top: (top / "newdir").mkdir(), lambda top: (top / "newdir").is_dir()),
    "unlink": (lambda top: (top / "goes").unlink(), lambda top: absent(top / "goes")),
    "rename over": (
        lambda top: (top / "other").rename(top / "file"),
        lambda top: _size(top / "file") == 5 and absent(top / "other"),
    ),
    "chmod": (lambda top: (top / "file").chmod(0o400), lambda top: os.lstat(top / "file").st_mode & 0o777 == 0o400),
    "move a directory": (
        lambda top: (top / "d").rename(top / "moved"),
        lambda top: _size(top / "moved/below/file") == 4 and absent(top / "d") and absent(top / "d/below/file"),
    ),
    "another target": (
        lambda top: ((top / "link").unlink(), (top / "link").symlink_to("other")),
        lambda top: os.readlink(top / "link") == "other",
    ),
    "another type": (
        lambda top: ((top / "goes").unlink(), (top / "goes").mkdir()),
        lambda top: (top / "goes").is_dir(),
    ),
}


def _size(path):
    with contextlib.suppress(FileNotFoundError):
        return os.lstat(path).st_size
    return None


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_each_kind_is_seen_though_the_kernel_believes_for_long(stack, mounted, kernel, change):
    for name in NAMES:
        kernel.learns(os.lstat, mounted.path / name)
    do, seen = CHANGES[change]
    do(stack.export)
    until(f"{change} is seen", lambda: seen(mounted.path))
    assert (mounted.path / "file").read_text() == (stack.export / "file").read_text()


def test_a_listing_tells_the_kernel_of_every_name_and_what_becomes_of_it(stack, mounted, kernel):
    names = [f"{number:04}" for number in range(600)]
    for number in range(8):
        (stack.export / f"many-{number}").mkdir()
        for name in names:
            (stack.export / f"many-{number}" / name).touch()
    kernel.learns(os.lstat, mounted.path / "file")
    unread = iter(range(8))

    def known():
        here = mounted.path / f"many-{next(unread)}"
        assert sorted(os.listdir(here)) == names
        return here if all(kernel.answers(os.lstat, here / name) for name in names[::-100]) else None

    # Not at the first try if its names are lent only, not being under watch yet.
    here = next(filter(None, iter(known, "never")))
    (stack.export / here.name / "0550").write_text("changed")
    (stack.export / here.name / "0450").unlink()
    until("the change is seen", lambda: _size(here / "0550") == 7 and absent(here / "0450"))


def test_an_open_file_and_its_pages_in_a_mapping_are_seen_to_change(stack, mounted):
    with (mounted.path / "file").open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as pages:
        assert pages[:] == b"file"
        with (stack.export / "file").open("r+b") as other:
            other.write(b"FILE")
        until("the mapping changes", lambda: pages[:] == b"FILE")
        with (stack.export / "file").open("ab") as other:
            other.write(b" and more")
        until("fstat tells", lambda: os.fstat(file.fileno()).st_size == 13)


def test_pages_outlive_a_close_while_the_file_is_as_it_was(stack, mounted):
    file = mounted.path / "file"
    until("the file has been quiet for long enough", lambda: file.read_bytes() and resident(file))
    (stack.export / "file").write_text("other")
    until("the feed tells", lambda: not resident(file))
    assert file.read_bytes() == b"other"


def resident(path):
    """Whether the kernel has the first page of a file that is opened now, before it is read."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 1, flags=mmap.MAP_PRIVATE) as pages:
        address = ctypes.addressof(ctypes.c_char.from_buffer(pages))
        vector = (ctypes.c_ubyte * 1)()
        assert ctypes.CDLL(None).mincore(ctypes.c_void_p(address), ctypes.c_size_t(1), vector) == 0
        return bool(vector[0] & 1)


def test_a_file_with_two_names_is_believed_for_a_short_time_only(stack, mounted, kernel):
    os.link(stack.export / "file", stack.export / "second")
    kernel.learns(os.lstat, mounted.path / "d/below/file")
    os.lstat(mounted.path / "file")
    until("it is asked for again", lambda: not kernel.answers(os.lstat, mounted.path / "file"))


FEW = ("file", "goes", "new", "d/below/file")


def test_when_the_relay_falls_silent_all_is_asked_again_and_later_all_is_well(stack, mounted, kernel):
    with contextlib.closing(Hands(cwd=mounted.path / "d")) as inside:
        for name in FEW:
            kernel.learns(os.lstat, mounted.path / name)
        stack.broker.signal(signal.SIGSTOP)
        try:
            for name in FEW:
                until(f"{name} is asked for", lambda name=name: refused(mounted.path / name))
            (stack.export / "file").write_text("meanwhile")
            (stack.export / "new").touch()
            (stack.export / "goes").unlink()
        finally:
            stack.broker.signal(signal.SIGCONT)
        until("the mount answers", lambda: not refused(mounted.path / "file"))
        assert _size(mounted.path / "file") == 9
        assert _size(mounted.path / "new") == 0
        assert absent(mounted.path / "goes")
        for name in FEW:
            kernel.learns(os.lstat, mounted.path / name)
        assert inside(os.getcwd) == str(mounted.path / "d")
        (stack.export / "d" / "below").chmod(0o700)
        until("it is seen from inside", lambda: inside(os.access, "below/file", os.R_OK) and _mode(inside) == 0o700)


def _mode(inside):
    inside.ask(os.stat, "below")
    said = inside.process.stdout.readline()
    return int(said.split("st_mode=")[1].split(",")[0]) & 0o777


def refused(path):
    try:
        os.lstat(path)
    except FileNotFoundError:
        return False
    except TimeoutError:
        return True
    return False
