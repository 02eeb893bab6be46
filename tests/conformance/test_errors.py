"""Refusals that hold for every operation: paths that must not be walked, and requests that are none."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from peer.filesystem import perform
from schema.requests import Cancel
from tests.conformance.driver import Files, Where, refused

Operation = Callable[[Files, Where], object]

OPERATIONS: dict[str, Operation] = {
    "stat": lambda files, where: files.stat(where),
    "change": lambda files, where: files.change(where, mode=0o777),
    "access": lambda files, where: files.access(where, 0),
    "list": lambda files, where: files.page(where),
    "mkdir": lambda files, where: files.mkdir(where),
    "rmdir": lambda files, where: files.rmdir(where),
    "unlink": lambda files, where: files.unlink(where),
    "rename from": lambda files, where: files.rename(where, b"new"),
    "rename to": lambda files, where: files.rename(b"file", where),
    "link from": lambda files, where: files.link(where, b"new"),
    "link to": lambda files, where: files.link(b"file", where),
    "symlink": lambda files, where: files.symlink(b"x", where),
    "readlink": lambda files, where: files.readlink(where),
    "mknod": lambda files, where: files.mknod(where, 0o100644),
    "open": lambda files, where: files.open(where),
    "create": lambda files, where: files.create(where),
    "getxattr": lambda files, where: files.getxattr(where, b"user.a"),
    "setxattr": lambda files, where: files.setxattr(where, b"user.a", b""),
    "listxattr": lambda files, where: files.xattrs(where),
    "removexattr": lambda files, where: files.removexattr(where, b"user.a"),
}
MAKES_A_NAME = {"mkdir", "symlink", "mknod", "create", "rename to", "link to"}


@pytest.fixture
def tree(files: Files) -> Files:
    files.mkdir(b"dir")
    files.put(b"file", b"content")
    return files


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
@pytest.mark.parametrize("name", [b"..", b".", b"", b"a/b", b"/", b"a\0b", b"../file"], ids=ascii)
def test_what_is_no_name_is_refused(tree: Files, operation: Operation, name: bytes) -> None:
    for path in ((name,), (b"dir", name), (name, b"file"), (b"dir", name, b"file")):
        with refused("EINVAL", "MALFORMED"):
            operation(tree, path)
    assert tree.names() == [b"dir", b"file"]
    assert tree.names(b"dir") == []


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_a_name_of_256_bytes_is_too_long(tree: Files, operation: Operation) -> None:
    for path in ((b"n" * 256,), (b"dir", b"n" * 256), (b"n" * 256, b"file")):
        with refused("ENAMETOOLONG", "MALFORMED"):  # the latter where it would not even fit into a request
            operation(tree, path)
    assert tree.names() == [b"dir", b"file"]


@pytest.mark.parametrize("operation", [OPERATIONS[key] for key in OPERATIONS if key not in MAKES_A_NAME])
def test_a_name_that_is_not_there(tree: Files, operation: Operation) -> None:
    with refused("ENOENT"):
        operation(tree, b"none")


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_a_directory_on_the_way_that_is_not_there(tree: Files, operation: Operation) -> None:
    with refused("ENOENT"):
        operation(tree, b"none/x")
    with refused("ENOENT"):
        operation(tree, b"dir/none/x")


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_a_file_on_the_way_is_no_directory(tree: Files, operation: Operation) -> None:
    with refused("ENOTDIR"):
        operation(tree, b"file/x")
    with refused("ENOTDIR"):
        operation(tree, b"file/x/y")


def test_what_is_no_operation_on_files_is_refused(files: Files) -> None:
    with refused("MALFORMED"):
        perform(files.filesystem, Cancel(1), files.caller)
