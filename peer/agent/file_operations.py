"""Every operation of the interface as system calls of the remote machine.

The one rule: an operation is `(request, asker) -> reply`; it finds its files by the asker's places or the client's own
handles and by nothing else. Failures are `OSError` as the kernel raised it, or `OperationFailed`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from peer.agent import file_attributes, file_data, final_contents, namespace, system_calls, verification
from peer.agent.asker import Asker, refuse_if
from peer.agent.directory_snapshots import DirectorySnapshots
from peer.agent.lock_waiters import LockWaiters
from peer.agent.locks import Locks
from peer.agent.namespace import Place
from peer.agent.open_files import OpenFile, OpenFiles, Reservation
from peer.errors import OperationFailed
from schema import requests
from schema.attributes import VolumeStatistics
from schema.envelope import Address
from schema.replies import (
    AnyReply,
    Attached,
    Copied,
    DirectoryPage,
    Done,
    FileData,
    LockState,
    Metadata,
    OpenedFile,
    Position,
    SymlinkTarget,
    Volume,
    Written,
    XattrNames,
    XattrValue,
)
from schema.requests import LockMode

_WRITES: Final = os.O_ACCMODE | os.O_TRUNC
"""Of these flags of open(2), any but O_RDONLY (0) asks for a change."""


class FileOperations:
    """The operations of one agent; `boot` is the random number of its start. Safe to use from many threads."""

    def __init__(
        self, boot: int, open_files: OpenFiles, locks: Locks, waiters: LockWaiters, directories: DirectorySnapshots
    ) -> None:
        self._boot: Final = boot
        self._open_files: Final = open_files
        self._locks: Final = locks
        self._waiters: Final = waiters
        self._directories: Final = directories
        self.by_request: Final[Mapping[type, Callable[[Any, Asker], AnyReply]]] = {
            requests.Attach: self.attach,
            requests.GetMetadata: self.get_metadata,
            requests.SetMetadata: self.set_metadata,
            requests.CheckAccess: self.check_access,
            requests.ListDir: self.list_dir,
            requests.OpenFile: self.open_file,
            requests.CreateFile: self.create_file,
            requests.ReadFile: self.read_file,
            requests.WriteFile: self.write_file,
            requests.FlushFile: self.flush_file,
            requests.SyncFile: self.sync_file,
            requests.CreateDir: self.create_dir,
            requests.RemoveDir: self.remove_dir,
            requests.DeleteFile: self.delete_file,
            requests.RenamePath: self.rename_path,
            requests.CreateLink: self.create_link,
            requests.CreateSymlink: self.create_symlink,
            requests.ReadSymlink: self.read_symlink,
            requests.CreateNode: self.create_node,
            requests.StatVolume: self.stat_volume,
            requests.GetXattr: self.get_xattr,
            requests.SetXattr: self.set_xattr,
            requests.ListXattrs: self.list_xattrs,
            requests.RemoveXattr: self.remove_xattr,
            requests.LockFile: self.lock_file,
            requests.TestLock: self.test_lock,
            requests.AllocateSpace: self.allocate_space,
            requests.CopyRange: self.copy_range,
            requests.SeekData: self.seek_data,
            requests.Cancel: self.cancel,
            requests.KeepAlive: self.keep_alive,
            requests.VerifyMetadata: verification.verify,
        }

    # --- files by name

    def attach(self, request: requests.Attach, asker: Asker) -> Attached:
        """ENOTDIR unless the path is a directory."""
        place = asker.place(request.path)
        with place.root.object(place.components) as descriptor:
            metadata = file_attributes.metadata(descriptor)
        if not stat.S_ISDIR(metadata.mode):
            raise NotADirectoryError(errno.ENOTDIR, "only a directory can be mounted")
        return Attached(self._boot, os.geteuid(), os.getegid(), asker.preserved, place.read_only, metadata)

    def check_access(self, request: requests.CheckAccess, asker: Asker) -> Done:
        place = asker.place(request.path)
        with place.root.object(place.components) as descriptor:
            file_attributes.check_access(descriptor, request.mode, asker.caller if asker.preserved else None)
        refuse_if(place.read_only and bool(request.mode & os.W_OK))
        return Done()

    def list_dir(self, request: requests.ListDir, asker: Asker) -> DirectoryPage:
        place = asker.place(request.path)
        with place.root.directory(place.components) as directory:
            return self._directories.page(
                directory, request.path, after=request.after, limit=request.limit, metadata=request.metadata
            )

    def create_dir(self, request: requests.CreateDir, asker: Asker) -> Metadata:
        return Metadata(namespace.make_directory(asker.place_to_change(request.path), request.mode))

    def remove_dir(self, request: requests.RemoveDir, asker: Asker) -> Done:
        namespace.remove_directory(asker.place_to_change(request.path))
        return Done()

    def delete_file(self, request: requests.DeleteFile, asker: Asker) -> Done:
        namespace.remove_file(asker.place_to_change(request.path))
        return Done()

    def rename_path(self, request: requests.RenamePath, asker: Asker) -> Done:
        source, destination = asker.place_to_move(request.source), asker.place_to_move(request.destination)
        namespace.rename(source, destination, request.flags)
        return Done()

    def create_link(self, request: requests.CreateLink, asker: Asker) -> Metadata:
        existing, place = asker.place_to_change(request.existing), asker.place_to_change(request.path)
        return Metadata(namespace.make_link(existing, place))

    def create_symlink(self, request: requests.CreateSymlink, asker: Asker) -> Metadata:
        return Metadata(namespace.make_symlink(asker.place_to_change(request.path), request.target))

    def read_symlink(self, request: requests.ReadSymlink, asker: Asker) -> SymlinkTarget:
        return SymlinkTarget(namespace.read_symlink(asker.place(request.path)))

    def create_node(self, request: requests.CreateNode, asker: Asker) -> Metadata:
        return Metadata(namespace.make_node(asker.place_to_change(request.path), request.mode, request.device))

    def stat_volume(self, request: requests.StatVolume, asker: Asker) -> Volume:
        place = asker.place(request.path)
        with place.root.object(place.components) as descriptor:
            statistics = file_attributes.volume_statistics(descriptor)
        return Volume(_read_only(statistics) if place.read_only else statistics)

    # --- files by name or handle

    def get_metadata(self, request: requests.GetMetadata, asker: Asker) -> Metadata:
        if request.handle:
            with self._open_files.use(asker.client, request.handle) as file:
                return Metadata(file_attributes.metadata(file.descriptor))
        place = asker.place(request.path)
        with place.root.object(place.components) as descriptor:  # without `_found`: nothing is asked as often
            return Metadata(file_attributes.metadata(descriptor))

    def set_metadata(self, request: requests.SetMetadata, asker: Asker) -> Metadata:
        with self._found(request, asker, change=True) as descriptor:
            return Metadata(file_attributes.change(descriptor, request, opened=request.handle != 0))

    def get_xattr(self, request: requests.GetXattr, asker: Asker) -> XattrValue:
        with self._found(request, asker) as descriptor:
            return XattrValue(file_attributes.get_xattr(descriptor, request.name))

    def set_xattr(self, request: requests.SetXattr, asker: Asker) -> Done:
        with self._found(request, asker, change=True) as descriptor:
            file_attributes.set_xattr(descriptor, request.name, request.value, request.flags)
        return Done()

    def list_xattrs(self, request: requests.ListXattrs, asker: Asker) -> XattrNames:
        with self._found(request, asker) as descriptor:
            return XattrNames(file_attributes.list_xattrs(descriptor))

    def remove_xattr(self, request: requests.RemoveXattr, asker: Asker) -> Done:
        with self._found(request, asker, change=True) as descriptor:
            file_attributes.remove_xattr(descriptor, request.name)
        return Done()

    def sync_file(self, request: requests.SyncFile, asker: Asker) -> Done:
        if request.handle:
            with self._open_files.use(asker.client, request.handle) as file:
                file_data.sync(file.descriptor, data_only=request.data_only)
            return Done()
        with namespace.opened_to_sync(asker.place(request.path)) as descriptor:
            file_data.sync(descriptor, data_only=request.data_only)
        return Done()

    # --- open files

    def open_file(self, request: requests.OpenFile, asker: Asker) -> OpenedFile:
        changes = bool(request.flags & _WRITES)
        place = asker.place_to_change(request.path) if changes else asker.place(request.path)
        with self._open_files.reserved(asker.client) as room:
            descriptor = namespace.open_file(place, request.flags)
            return self._opened(room, descriptor, request, place, first_bytes=request.first_bytes)

    def create_file(self, request: requests.CreateFile, asker: Asker) -> OpenedFile:
        place = asker.place(request.path)
        with self._open_files.reserved(asker.client) as room:
            if place.read_only:
                descriptor = namespace.open_where_read_only(place, request.flags)
            else:
                descriptor = namespace.create_file(place, request.flags, request.mode)
            return self._opened(room, descriptor, request, place)

    def close_file(self, request: requests.CloseFile, asker: Asker) -> OpenFile:
        """Give the handle back with its locks: what it was, for the audit."""
        file = self._open_files.close(asker.client, request.handle)
        self._locks.handle_closed(file)
        self._waiters.freed(file.inode)
        return file

    def client_gone(self, client: Address) -> list[OpenFile]:
        """Give back all that `client` has: the files that it had open, for the audit."""
        self._waiters.client_gone(client)
        files = self._open_files.close_client(client)
        self._locks.client_gone(client)
        for inode in {file.inode for file in files}:
            self._waiters.freed(inode)
        return files

    def clients(self) -> set[Address]:
        """The client instances that have files open."""
        return self._open_files.clients()

    def opened(self, handle: int, asker: Asker) -> tuple[tuple[bytes, ...], tuple[int, int]] | None:
        """The path that a handle was opened by, and (device, inode number); None for one that is not the client's."""
        try:
            with self._open_files.use(asker.client, handle) as file:
                return file.path, file.inode
        except OperationFailed:
            return None

    def read_file(self, request: requests.ReadFile, asker: Asker) -> FileData:
        with self._open_files.use(asker.client, request.handle) as file:
            since = final_contents.settled_since(file.descriptor)
            data = file_data.read(file.descriptor, request.offset, request.size)
            version = final_contents.settled_version(file.descriptor, since)
            self._open_files.account(file, read=len(data))
        return FileData(memoryview(data), version)

    def write_file(self, request: requests.WriteFile, asker: Asker) -> Written:
        with self._open_files.use(asker.client, request.handle) as file:
            size = file_data.write(file.descriptor, request.offset, request.data)
            self._open_files.account(file, written=size)
            return Written(size, file_attributes.metadata(file.descriptor))

    def flush_file(self, request: requests.FlushFile, asker: Asker) -> Done:
        with self._open_files.use(asker.client, request.handle) as file:
            file_data.flush(file.descriptor)
        return Done()

    def allocate_space(self, request: requests.AllocateSpace, asker: Asker) -> Metadata:
        with self._open_files.use(asker.client, request.handle) as file:
            system_calls.fallocate(file.descriptor, request.mode, request.offset, request.length)
            return Metadata(file_attributes.metadata(file.descriptor))

    def copy_range(self, request: requests.CopyRange, asker: Asker) -> Copied:
        with (
            self._open_files.use(asker.client, request.handle) as source,
            self._open_files.use(asker.client, request.target) as target,
        ):
            size = file_data.copy(source.descriptor, target.descriptor, request)
            self._open_files.account(source, read=size)
            self._open_files.account(target, written=size)
            return Copied(size, file_attributes.metadata(target.descriptor))

    def seek_data(self, request: requests.SeekData, asker: Asker) -> Position:
        with self._open_files.use(asker.client, request.handle) as file:
            return Position(file_data.seek(file.descriptor, request.offset, request.whence))

    # --- locks

    def lock_file(self, request: requests.LockFile, asker: Asker) -> Done:
        """At once or EAGAIN, whatever `wait_ms` says: see `wait_for_lock`."""
        with self._open_files.use(asker.client, request.handle) as file:
            self._locks.apply(file, request)
            if request.mode is not LockMode.EXCLUSIVE:
                self._waiters.freed(file.inode)
        return Done()

    def wait_for_lock(
        self, request: requests.LockFile, asker: Asker, request_id: int, done: Callable[[Exception | None], None]
    ) -> None:
        """Try for `wait_ms` in the waiting room; `done` as `LockWaiters.wait` has it."""
        with self._open_files.use(asker.client, request.handle) as file:
            inode = file.inode

        def attempt() -> None:
            with self._open_files.use(asker.client, request.handle) as still_open:
                self._locks.apply(still_open, request)

        self._waiters.wait((asker.client, request_id), inode, attempt, done, seconds=request.wait_ms / 1000)

    def test_lock(self, request: requests.TestLock, asker: Asker) -> LockState:
        with self._open_files.use(asker.client, request.handle) as file:
            return self._locks.test(file, request)

    def cancel(self, request: requests.Cancel, asker: Asker) -> Done:
        self._waiters.cancel((asker.client, request.request))
        return Done()

    def keep_alive(self, _: requests.KeepAlive, __: Asker) -> Done:
        return Done()

    # ---

    @contextlib.contextmanager
    def _found(self, request: Any, asker: Asker, *, change: bool = False) -> Iterator[int]:
        """The descriptor of a request that names its file by handle or by path."""
        if request.handle:
            with self._open_files.use(asker.client, request.handle) as file:
                refuse_if(change and file.read_only)
                yield file.descriptor
            return
        place = asker.place_to_change(request.path) if change else asker.place(request.path)
        with place.root.object(place.components) as descriptor:
            yield descriptor

    def _opened(
        self,
        room: Reservation,
        descriptor: int,
        request: requests.OpenFile | requests.CreateFile,
        place: Place,
        *,
        first_bytes: int = 0,
    ) -> OpenedFile:
        file = room.fill(descriptor, request.path, request.flags, read_only=place.read_only)
        try:
            since = final_contents.settled_since(descriptor) if file.readable else 0
            data = file_data.read(descriptor, 0, first_bytes) if first_bytes and file.readable else b""
            file.read = len(data)
            generation = file_attributes.generation(descriptor)
            return OpenedFile(file.handle, file_attributes.metadata(descriptor), generation, memoryview(data), since)
        except BaseException:
            self._open_files.close(file.client, file.handle)  # the client will never learn of the handle
            raise


def _read_only(statistics: VolumeStatistics) -> VolumeStatistics:
    return VolumeStatistics(
        statistics.block_size,
        statistics.fragment_size,
        statistics.blocks,
        statistics.blocks_free,
        statistics.blocks_available,
        statistics.files,
        statistics.files_free,
        statistics.files_available,
        statistics.flags | os.ST_RDONLY,
        statistics.name_max,
    )
