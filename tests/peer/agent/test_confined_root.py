from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from peer.agent import confined_root, system_calls
from peer.agent.confined_root import ConfinedRoot, walk_by_component, walk_by_openat2
from tests.peer.agent.conftest import open_descriptors


@pytest.fixture(params=[walk_by_openat2, walk_by_component], ids=["openat2", "component"])
def root(request, export: Path):
    (export / "d" / "e").mkdir(parents=True)
    (export / "d" / "e" / "f").write_bytes(b"inside")
    (export.parent / "secret").write_bytes(b"outside")
    with ConfinedRoot(str(export), request.param) as root:
        before = open_descriptors()
        yield root
        assert open_descriptors() == before, "a descriptor leaked"


def content(root: ConfinedRoot, *components: bytes) -> bytes:
    with root.object(components) as descriptor, open(f"/proc/self/fd/{descriptor}", "rb") as file:
        return file.read()


def test_a_path_leads_to_its_file(root):
    assert content(root, b"d", b"e", b"f") == b"inside"


def test_the_empty_path_is_the_root(root, export):
    with root.object(()) as descriptor, root.directory(()) as directory:
        assert os.fstat(descriptor).st_ino == os.fstat(directory).st_ino == export.stat().st_ino


def test_a_parent_is_a_directory_and_a_name_whatever_the_name_is(root, export):
    with root.parent((b"d", b"new")) as (directory, name):
        assert (os.fstat(directory).st_ino, name) == ((export / "d").stat().st_ino, b"new")


def test_the_root_has_no_name(root):
    with pytest.raises(OSError) as caught, root.parent(()):
        pass
    assert caught.value.errno == errno.EBUSY


@pytest.mark.parametrize(
    ("path", "number"),
    [
        ((b"nothing",), errno.ENOENT),
        ((b"d", b"nothing", b"f"), errno.ENOENT),
        ((b"d", b"e", b"f", b"g"), errno.ENOTDIR),
        ((b"x" * 256,), errno.ENAMETOOLONG),
    ],
)
def test_what_is_not_there_is_said_as_the_kernel_says_it(root, path, number):
    with pytest.raises(OSError) as caught, root.object(path):
        pass
    assert caught.value.errno == number


@pytest.mark.parametrize("target", ["..", "../secret", "/", "/etc", "d", "e", ".", "nowhere"])
def test_no_link_inside_a_path_is_followed(root, export, target):
    (export / "link").symlink_to(target)
    for path in ((b"link", b"f"), (b"link", b"secret"), (b"link", b"passwd")):
        with pytest.raises(OSError) as caught, root.object(path):
            pass
        assert caught.value.errno == errno.ESTALE
        with pytest.raises(OSError) as caught, root.parent(path):
            pass
        assert caught.value.errno == errno.ESTALE


def test_a_link_at_the_end_is_the_link_itself(root, export):
    (export / "link").symlink_to("../secret")
    with root.object((b"link",)) as descriptor:
        assert os.readlink(b"", dir_fd=descriptor) == b"../secret"
    with pytest.raises(OSError) as caught, root.directory((b"link",)):
        pass
    assert caught.value.errno == errno.ESTALE


def test_dots_do_not_lead_out_even_if_they_got_past_the_schema(export):
    (export / "d").mkdir()
    (export.parent / "secret").touch()
    with ConfinedRoot(str(export), walk_by_openat2) as root:
        for path in ((b"..", b"secret"), (b"d", b"..", b"..", b"secret")):
            with pytest.raises(OSError) as caught, root.object(path):
                pass
            assert caught.value.errno == errno.ESTALE


def test_magic_links_of_proc_are_not_followed():
    with ConfinedRoot("/proc/self", walk_by_openat2) as root:
        for path in ((b"cwd", b"x"), (b"root", b"etc")):
            with pytest.raises(OSError) as caught, root.object(path):
                pass
            assert caught.value.errno == errno.ESTALE


def test_names_are_any_bytes(root, export):
    for name in (b"\xff\xfe", b"new\nline", b" ", b"-", b"\x01", "ü".encode(), b"n" * 255):
        with root.parent((b"d", name)) as (directory, last):
            os.mkdir(last, dir_fd=directory)
        with root.object((b"d", name)) as descriptor:
            assert os.fsencode(os.readlink(f"/proc/self/fd/{descriptor}")).endswith(b"/d/" + name)


def test_a_path_may_be_longer_than_the_kernel_takes_at_once(root):
    path = tuple(b"%03d" % number + b"x" * 200 for number in range(60))
    for length in range(len(path)):
        with root.parent(path[: length + 1]) as (directory, name):
            os.mkdir(name, dir_fd=directory)
    assert sum(map(len, path)) > 2 * 4096
    with root.parent((*path, b"f")) as (directory, name):
        os.close(os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=directory))
    assert content(root, *path, b"f") == b""
    for length in range(len(path), 0, -1):  # pytest's own clean-up does not reach so deep
        with root.parent((*path[:length], b"f")) as (directory, name):
            if length == len(path):
                os.unlink(name, dir_fd=directory)
        with root.parent(path[:length]) as (directory, name):
            os.rmdir(name, dir_fd=directory)


def test_the_root_stays_when_another_takes_its_name(root, export):
    export.rename(export.parent / "moved")
    export.symlink_to("/etc")
    assert content(root, b"d", b"e", b"f") == b"inside"


def test_an_export_must_be_a_directory(export):
    (export / "file").touch()
    with pytest.raises(NotADirectoryError):
        ConfinedRoot(str(export / "file"))
    with pytest.raises(FileNotFoundError):
        ConfinedRoot(str(export / "nothing"))


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EPERM])
def test_where_the_kernel_lacks_openat2_the_walk_goes_by_component(monkeypatch, export, number):
    def missing(*_):
        raise OSError(number, "")

    monkeypatch.setattr(system_calls, "openat2", missing)
    with ConfinedRoot(str(export)) as root:
        assert root._walk is walk_by_component


def test_where_the_kernel_has_openat2_it_is_used(export):
    with ConfinedRoot(str(export)) as root:
        assert root._walk is walk_by_openat2


def test_a_kernel_that_is_not_sure_is_asked_again_but_not_forever(monkeypatch, export):
    unsure = 5
    calls = []
    genuine = system_calls.openat2

    def openat2(*arguments):
        calls.append(arguments)
        if len(calls) < unsure:
            raise BlockingIOError(errno.EAGAIN, "")
        return genuine(*arguments)

    with ConfinedRoot(str(export), walk_by_openat2) as root:
        monkeypatch.setattr(system_calls, "openat2", openat2)
        with root.object((b".",)):
            pass
        assert len(calls) == unsure
        unsure = 10**6
        with pytest.raises(OSError) as caught, root.object((b".",)):
            pass
        assert caught.value.errno == errno.EAGAIN
        assert len(calls) < 100


SWAPPER = """
import sys
from peer.agent.system_calls import renameat2
print("ready", flush=True)
while True:
    renameat2(-100, sys.argv[1].encode(), -100, sys.argv[2].encode(), 2)
"""


@pytest.fixture
def swapped(export: Path):
    """A program that swaps `x`, a directory of the export, with a link to a directory outside, all the time."""
    outside = export.parent / "outside"
    outside.mkdir()
    (outside / "f").write_bytes(b"outside")
    (export / "x").mkdir()
    (export / "x" / "f").write_bytes(b"inside")
    (export / "link").symlink_to(outside)
    process = subprocess.Popen(
        [sys.executable, "-c", SWAPPER, str(export / "x"), str(export / "link")], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    yield outside
    assert process.poll() is None, "the attacker gave up"
    process.kill()
    process.communicate()


ROUNDS = 3000
DEADLINE = 20.0


def test_a_link_that_is_swapped_in_meanwhile_is_never_followed(root, swapped):
    seen, rounds, until = set(), 0, time.monotonic() + DEADLINE
    while rounds < ROUNDS or not seen >= {b"inside", errno.ESTALE}:
        assert time.monotonic() < until, "the race was never on"
        rounds += 1
        try:
            seen.add(content(root, b"x", b"f"))
        except OSError as error:
            seen.add(error.errno)
        try:
            with root.parent((b"x", b"g")) as (directory, name):
                os.close(os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=directory))
        except OSError as error:
            seen.add(error.errno)
    assert seen <= {b"inside", errno.ESTALE, errno.ENOTDIR, errno.EAGAIN}
    assert os.listdir(swapped) == ["f"]


def test_pieces_of_a_path_are_all_of_it_and_each_fits():
    path = tuple(b"x" * (1 + number % 255) for number in range(2000))
    pieces = list(confined_root._pieces(path))
    assert tuple(name for piece in pieces for name in piece) == path
    assert all(0 < len(b"/".join(piece)) < 4096 for piece in pieces)
    assert list(confined_root._pieces(())) == []


def test_a_root_that_was_removed_goes_over_to_the_next_of_its_name(root, export):
    assert not root.renew()
    shutil.rmtree(export)
    with pytest.raises(FileNotFoundError):
        root.renew()
    export.mkdir()
    (export / "g").write_bytes(b"new")
    assert root.renew()
    assert content(root, b"g") == b"new"
    assert not root.renew()


def test_a_root_that_was_moved_stays(root, export):
    export.rename(export.parent / "elsewhere")
    export.mkdir()
    assert not root.renew()
    assert content(root, b"d", b"e", b"f") == b"inside"


def test_no_link_that_came_later_leads_to_a_root(tmp_path):
    """Neither in place of it nor on the way to it; one that was there from the first is ours."""
    (tmp_path / "place" / "export").mkdir(parents=True)
    (tmp_path / "elsewhere" / "export").mkdir(parents=True)
    (tmp_path / "ours").symlink_to(tmp_path / "place")
    with ConfinedRoot(str(tmp_path / "ours" / "export")) as root:
        shutil.rmtree(tmp_path / "place")
        (tmp_path / "place").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(OSError, match="symbolic link"):
            root.renew()
        (tmp_path / "place").unlink()
        (tmp_path / "place" / "export" / "new").mkdir(parents=True)
        assert root.renew()
        with root.object((b"new",)):
            pass
