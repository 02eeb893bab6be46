"""The files of the store: opened, filled, emptied, listed and removed by name.

The one rule: no call relies on the state that another left. That is what makes it safe for many processes (see the
package): a container may vanish between any two calls. What stays open (`open_containers`) is only what has the name.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections.abc import Iterator
from typing import Final

from peer.mount.block_store.holes import punch
from peer.mount.block_store.layout import SALT_SIZE
from peer.mount.block_store.open_containers import OpenContainers
from peer.mount.block_store.sealing import NAME_SIZE
from peer.session.primitives import Buffer

EMPTY: Final = bytes(SALT_SIZE)
"""The salt of a slot that holds nothing."""
TOUCH_INTERVAL: Final = 60.0
"""Seconds within which a use is not noted again: how exact "least recently used" is."""

# Neither a symbolic link nor a fifo in a container's place may lead us astray or keep us waiting.
_FLAGS: Final = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_SHARD: Final = re.compile(r"[0-9a-f]{2}\Z")
_REST: Final = re.compile(rf"[0-9a-f]{{{2 * NAME_SIZE - 2}}}\Z")


class Containers:
    """The containers below a directory, spread over 256 directories by the first byte of their names."""

    def __init__(self, directory: str) -> None:
        self.directory: Final = directory
        self._open: Final = OpenContainers(os.O_RDONLY | _FLAGS)

    def prepare(self) -> None:
        """Make the directory, or close it to others. Raises OSError."""
        os.makedirs(self.directory, 0o700, exist_ok=True)
        if stat.S_IMODE(os.stat(self.directory).st_mode) != 0o700:
            os.chmod(self.directory, 0o700)

    def reading(self, name: str) -> contextlib.AbstractContextManager[int | None]:
        """A descriptor to read from, or None where no such container is. Raises OSError for other failures."""
        return self._open.reading(self._path(name))

    @contextlib.contextmanager
    def writing(self, name: str) -> Iterator[int]:
        """A descriptor to write to; what is missing is made. Raises OSError."""
        path = self._path(name)
        flags = os.O_WRONLY | os.O_CREAT | _FLAGS
        try:
            descriptor = os.open(path, flags, 0o600)
        except FileNotFoundError:
            self.prepare()
            os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
            descriptor = os.open(path, flags, 0o600)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def book(self, name: str) -> int:
        """A descriptor of a file for bookkeeping beside the containers; what is missing is made. Raises OSError."""
        path = f"{self.directory}/{name}"
        flags = os.O_RDWR | os.O_CREAT | _FLAGS
        try:
            return os.open(path, flags, 0o600)
        except FileNotFoundError:
            self.prepare()
            return os.open(path, flags, 0o600)

    def empty_slot(self, name: str, offset: int, length: int) -> None:
        """Have the slot at `offset` hold nothing, if the container is still there. Raises OSError."""
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(self._path(name), os.O_WRONLY | _FLAGS)
            try:
                os.pwrite(descriptor, EMPTY, offset)
                with contextlib.suppress(OSError):  # where there are no holes, the salt says it
                    punch(descriptor, offset, length)
            finally:
                os.close(descriptor)

    def remove(self, name: str) -> bool:
        """Whether there was such a container; whoever has it open keeps what he reads. Raises OSError."""
        path = self._path(name)
        try:
            os.unlink(path)
        except FileNotFoundError:
            return False
        finally:
            self._open.close(path)
        return True

    def close_idle(self) -> None:
        """Close what has not been read for a while; call it now and then."""
        self._open.close_idle()

    def close(self) -> None:
        """Leave no descriptor open."""
        self._open.close_all()

    def last_use(self, name: str) -> int | None:
        """When a container was last used (see `touch`), None where it is gone. Raises OSError."""
        try:
            return os.stat(self._path(name), follow_symlinks=False).st_mtime_ns
        except FileNotFoundError:
            return None

    def shards(self) -> list[str]:
        """The directories that containers are spread over. Raises OSError."""
        try:
            return sorted(name for name in os.listdir(self.directory) if _SHARD.match(name))
        except FileNotFoundError:
            return []

    def listed(self, shard: str) -> Iterator[tuple[str, int, int]]:
        """Name, bytes on disk and last use (nanoseconds) of each container in a shard. Raises OSError."""
        with contextlib.suppress(FileNotFoundError), os.scandir(os.path.join(self.directory, shard)) as entries:
            for entry in entries:
                # Between the listing and the question others may have removed it.
                with contextlib.suppress(FileNotFoundError):
                    if _REST.match(entry.name) and entry.is_file(follow_symlinks=False):
                        found = entry.stat(follow_symlinks=False)
                        yield shard + entry.name, found.st_blocks * 512, found.st_mtime_ns

    def _path(self, name: str) -> str:
        return f"{self.directory}/{name[:2]}/{name[2:]}"


def write_slot(descriptor: int, offset: int, salt: bytes, sealed: Buffer) -> None:
    """Fill a slot. Raises OSError; a slot that was written in part does not open, and so counts as empty."""
    written = os.pwritev(descriptor, [salt, sealed], offset)
    if written < len(salt) + len(sealed):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def touch(descriptor: int, now: float) -> None:
    """Note a use at `now` (seconds since the epoch) in the modification time, once a `TOUCH_INTERVAL` at most.

    The access time will not do: most file systems are mounted with relatime or noatime. Raises OSError.
    """
    if abs(now - os.fstat(descriptor).st_mtime) > TOUCH_INTERVAL:
        os.utime(descriptor, ns=(int(now * 1e9), int(now * 1e9)))
