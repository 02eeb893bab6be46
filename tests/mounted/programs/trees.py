"""A tree with everything that a copy may lose, and what is to be equal of two trees."""

from __future__ import annotations

import hashlib
import os
import socket
import stat
from pathlib import Path

from tests.stack.processes import run

SPARSE_SIZE = 8 * 1024 * 1024


def plant(root: Path) -> None:
    """Hard and symbolic links, a fifo, a socket, extended attributes, ACLs, a sparse file, modes and nanoseconds."""
    root.mkdir()
    (root / "empty").touch()
    (root / "dir" / "below").mkdir(parents=True)
    (root / "dir" / "data").write_bytes(os.urandom(300_000))
    (root / "dir" / "below" / "text").write_text("text")
    os.link(root / "dir" / "data", root / "dir" / "below" / "same data")
    os.link(root / "dir" / "data", root / "again")
    (root / "to a file").symlink_to("dir/data")
    (root / "to nothing").symlink_to("../../nowhere/" + "x" * 200)
    os.mkfifo(root / "fifo")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(os.fspath(root / "socket"))
    with (root / "sparse").open("wb") as sparse:
        sparse.seek(SPARSE_SIZE - 3)
        sparse.write(b"end")
    (root / os.fsdecode(b"\xff\xfe name \n\t\\")).write_text("odd")
    os.setxattr(root / "dir" / "data", "user.of.file", b"\0value\xff" * 100)
    os.setxattr(root / "dir", "user.of.dir", b"")
    if os.getuid() == 0:
        # ACLs pass where identities do: with mapped ones the kernel refuses to name users.
        run("setfacl", "-m", "u:1234:rw,g:4321:r,m::rwx", root / "dir" / "below" / "text")
        run("setfacl", "-m", "d:u:1234:rx", root / "dir")
        os.lchown(root / "to a file", 12, 34)
        os.chown(root / "dir" / "below", 1234, 4321)
        os.chown(root / "empty", 5, 6)
    (root / "empty").chmod(0o4751)
    (root / "dir").chmod(0o2770)
    moment = 1_234_567_890_123_456_789
    for directory, directories, names in os.walk(root, topdown=False):
        for name in (*names, *directories):
            moment += 1_000_000_001
            os.utime(os.path.join(directory, name), ns=(moment, moment), follow_symlinks=False)
    os.utime(root, ns=(moment, moment))


def survey(root: Path, *, sockets: bool = True) -> dict[bytes, tuple[object, ...]]:
    """All that a faithful copy of the tree must have, by path; hard links as the set of names of one file."""
    base = os.fsencode(root)
    paths = [base]
    for directory, directories, names in os.walk(base):
        paths += [os.path.join(directory, name) for name in (*directories, *names)]
    names_of: dict[int, list[bytes]] = {}
    for path in paths:
        names_of.setdefault(os.lstat(path).st_ino, []).append(path[len(base) :])
    return {
        path[len(base) :]: _traits(path, sorted(names_of[os.lstat(path).st_ino]))
        for path in paths
        if sockets or not stat.S_ISSOCK(os.lstat(path).st_mode)
    }


def _traits(path: bytes, names: list[bytes]) -> tuple[object, ...]:
    status = os.lstat(path)
    content: object = None
    if stat.S_ISREG(status.st_mode):
        with open(path, "rb") as file:
            content = hashlib.sha256(file.read()).hexdigest(), status.st_size
    elif stat.S_ISLNK(status.st_mode):
        content = os.readlink(path)
    attributes = {}
    if not stat.S_ISLNK(status.st_mode):
        attributes = {name: os.getxattr(path, name) for name in os.listxattr(path)}
    owner = (status.st_uid, status.st_gid)
    links = () if stat.S_ISDIR(status.st_mode) else (status.st_nlink, *names)
    return oct(status.st_mode), owner, status.st_mtime_ns, links, content, tuple(sorted(attributes.items()))
