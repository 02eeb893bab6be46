"""What all callbacks of the FUSE adapter share: whose file system it is, and what libfuse's arguments mean.

The one rule: paths come as libfuse makes them, absolute below the mount, and leave as the agent's, below its own ``/``;
the caller is whoever makes the system call that this thread answers.
"""

from __future__ import annotations

import dataclasses
import errno
from typing import Protocol

from peer.filesystem import FileSystem
from peer.mount.fuse_binding import CallContext
from peer.mount.identity_map import IdentityMap
from peer.mount.kernel_cache import KernelCache
from peer.mount.local_view import LocalView
from peer.mount.path_table import PathTable
from peer.mount.removed_files import RemovedFiles
from peer.mount.replaced_files import ReplacedFiles
from peer.mount.symlink_policy import SymlinkPolicy
from schema.attributes import FileMetadata
from schema.paths import RelativePath, parse
from schema.replies import Attached
from schema.requests import NAMELESS, Caller


class Edge(Protocol):
    """What the binding knows about the system call behind a callback."""

    def context(self) -> CallContext: ...
    def groups(self) -> tuple[int, ...]: ...
    def interrupted(self) -> bool: ...


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Mounted:
    """What is mounted, and by which rules. `removed` is None where libfuse lets nothing be done about removed files."""

    filesystem: FileSystem
    root: RelativePath
    attached: Attached
    edge: Edge
    identity: IdentityMap
    symlinks: SymlinkPolicy
    kernel: KernelCache
    removed: RemovedFiles | None
    replaced: ReplacedFiles | None = None
    """Likewise."""


class Adapter:
    """The callbacks' common ground."""

    def __init__(self, mounted: Mounted) -> None:
        self._filesystem = mounted.filesystem
        self._root = mounted.root
        self._edge = mounted.edge
        self._identity = mounted.identity
        self._symlinks = mounted.symlinks
        self._kernel = mounted.kernel
        self._removed = mounted.removed
        self._replaced = mounted.replaced
        self._view = LocalView(mounted.identity, mounted.attached.metadata.volume)
        self._open_files: PathTable[int] = PathTable()
        self._open_directories: PathTable[int] = PathTable()
        self._kernel.know_open(self._open_files, self._open_directories)
        if self._replaced is not None:
            self._replaced.know_open(self._open_files)

    def _path(self, path: bytes) -> RelativePath:
        return self._root + parse(path)

    def _target(self, path: bytes | None, handle: int | None = None) -> tuple[RelativePath, int]:
        """The file that libfuse means: a path, or `NAMELESS` and a handle."""
        if handle:
            return NAMELESS, handle
        if path is None:
            raise OSError(errno.ESTALE, "libfuse gave neither path nor handle")
        where = self._path(path)
        if self._removed is None:
            return where, 0
        hidden = self._removed.resolve(where)
        if hidden is None and self._removed.is_gone(where):
            raise OSError(errno.ESTALE, "the file was removed or replaced, and is closed")
        return hidden or (where, 0)

    def _caller(self) -> Caller:
        """On whose behalf, for what depends on permissions or makes a file."""
        context = self._edge.context()
        if not self._identity.groups_matter:
            return Caller(context.uid, context.gid, (), context.umask)
        # Root's groups add nothing to what it may do, and reading them costs as much as the rest of the callback.
        return Caller(context.uid, context.gid, self._edge.groups() if context.uid else (), context.umask)

    def _user(self) -> Caller:
        """On whose behalf, for what an open handle allows already."""
        context = self._edge.context()
        return Caller(context.uid, context.gid)

    def _changed(
        self, metadata: FileMetadata, path: RelativePath, handle: int | None = None, *, data: bool = False
    ) -> None:
        self._kernel.changed(metadata, self._open_files.path(handle) if handle else path, data=data)
