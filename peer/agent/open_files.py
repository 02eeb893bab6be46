"""The files that clients hold open, by handle.

The one rule: a descriptor is closed when its handle is given back *and* the last operation on it is over, so no
operation ever meets the descriptor of another file.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import threading
from collections.abc import Iterator
from typing import Final

from peer.errors import OperationFailed
from schema.envelope import Address
from schema.failure_codes import STALE_HANDLE


class OpenFile:
    """An open file of `client`: its descriptor, the path it was opened by, the open(2) flags in force.

    `inode` is (device, inode number); `read` and `written` count bytes for the audit.
    """

    __slots__ = (
        "_users",
        "client",
        "closed",
        "descriptor",
        "flags",
        "handle",
        "inode",
        "path",
        "read",
        "read_only",
        "written",
    )

    def __init__(
        self, handle: int, client: Address, descriptor: int, path: tuple[bytes, ...], flags: int, *, read_only: bool
    ) -> None:
        self.handle: Final = handle
        self.client: Final = client
        self.descriptor: Final = descriptor
        self.path: Final = path
        self.flags: Final = flags
        self.read_only: Final = read_only
        status = os.fstat(descriptor)
        self.inode: Final = (status.st_dev, status.st_ino)
        self.closed = False
        self.read = 0
        self.written = 0
        self._users = 0

    @property
    def readable(self) -> bool:
        """Whether the handle may read."""
        return self.flags & os.O_ACCMODE != os.O_WRONLY

    @property
    def writable(self) -> bool:
        """Whether the handle may write."""
        return self.flags & os.O_ACCMODE != os.O_RDONLY


class Reservation:
    """Room for one open file; becomes a handle by `fill`, or is given back."""

    __slots__ = ("_client", "_files", "handle")

    def __init__(self, files: OpenFiles, client: Address) -> None:
        self._files = files
        self._client = client
        self.handle = 0

    def fill(self, descriptor: int, path: tuple[bytes, ...], flags: int, *, read_only: bool) -> OpenFile:
        """Enter `descriptor`, which is the table's from now on."""
        try:
            file = self._files._enter(self._client, descriptor, path, flags, read_only=read_only)  # noqa: SLF001
        except OSError:
            os.close(descriptor)
            raise
        self.handle = file.handle
        return file


class OpenFiles:
    """The table. Handles count up from a random number, so that one of an earlier agent means nothing to this one."""

    def __init__(self, *, per_client: int, total: int) -> None:
        self._per_client: Final = per_client
        self._total: Final = total
        self._lock: Final = threading.Lock()
        self._files: Final[dict[int, OpenFile]] = {}
        self._counts: Final[dict[Address, int]] = {}
        self._reserved = 0
        self._next = secrets.randbits(62) + 1

    def __len__(self) -> int:
        return len(self._files)

    @contextlib.contextmanager
    def reserved(self, client: Address) -> Iterator[Reservation]:
        """Room for one more file of `client`, taken before anything is created or truncated for it.

        Raises `OSError`: EMFILE when the client has its share, ENFILE when the agent is full.
        """
        with self._lock:
            if self._counts.get(client, 0) >= self._per_client:
                raise OSError(errno.EMFILE, f"a client may have {self._per_client} files open")
            if self._reserved >= self._total:
                raise OSError(errno.ENFILE, f"the agent may have {self._total} files open")
            self._reserved += 1
            self._counts[client] = self._counts.get(client, 0) + 1
        reservation = Reservation(self, client)
        try:
            yield reservation
        finally:
            if not reservation.handle:
                with self._lock:
                    self._give_back(client)

    @contextlib.contextmanager
    def use(self, client: Address, handle: int) -> Iterator[OpenFile]:
        """The open file of a handle, good until the block ends. A handle of nobody or of another: STALE_HANDLE."""
        with self._lock:
            file = self._owned(client, handle)
            file._users += 1  # noqa: SLF001
        try:
            yield file
        finally:
            with self._lock:
                file._users -= 1  # noqa: SLF001
                unused = file.closed and not file._users  # noqa: SLF001
            if unused:
                os.close(file.descriptor)

    def account(self, file: OpenFile, *, read: int = 0, written: int = 0) -> None:
        """Count bytes that went through `file`."""
        with self._lock:
            file.read += read
            file.written += written

    def close(self, client: Address, handle: int) -> OpenFile:
        """Give a handle back: the file that it was. A handle of nobody or of another: STALE_HANDLE."""
        with self._lock:
            file = self._owned(client, handle)
            unused = self._remove(file)
        if unused:
            os.close(file.descriptor)
        return file

    def close_client(self, client: Address) -> list[OpenFile]:
        """Give back all handles of `client`: the files that they were."""
        with self._lock:
            files = [file for file in self._files.values() if file.client == client]
            unused = [file for file in files if self._remove(file)]
        for file in unused:
            os.close(file.descriptor)
        return files

    def clients(self) -> set[Address]:
        """Who has files open."""
        with self._lock:
            return {file.client for file in self._files.values()}

    def _enter(
        self, client: Address, descriptor: int, path: tuple[bytes, ...], flags: int, *, read_only: bool
    ) -> OpenFile:
        with self._lock:
            file = OpenFile(self._next, client, descriptor, path, flags, read_only=read_only)
            self._next += 1
            self._files[file.handle] = file
        return file

    def _owned(self, client: Address, handle: int) -> OpenFile:
        file = self._files.get(handle)
        if file is None or file.client != client:
            raise OperationFailed(STALE_HANDLE, "no open file of this client has the handle")
        return file

    def _remove(self, file: OpenFile) -> bool:
        del self._files[file.handle]
        self._give_back(file.client)
        file.closed = True
        return not file._users  # noqa: SLF001

    def _give_back(self, client: Address) -> None:
        self._reserved -= 1
        self._counts[client] -= 1
        if not self._counts[client]:
            del self._counts[client]
