"""A file system that answers from what is known, while that is known to be true, and asks otherwise.

The one rule: open_file asks, so that what was closed anywhere before is seen here after, but for what `local_opens`
lets be opened here; so does all that concerns a locked file; every change forgets, before it returns, whatever its
answer does not tell.

Rights are not looked at: the kernel checks them where users of a mount differ in what they may do. What can depend on
the caller besides (`check_access`, and extended attributes unless `xattrs`) is asked each time.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final, TypeVar

from peer.errors import OperationFailed
from peer.filesystem import Decorator, FileSystem
from peer.mount.bulk_verification import BulkVerification, Question
from peer.mount.cached_handles import CachedHandles
from peer.mount.coherent_cache import CoherentCache
from peer.mount.content_reads import ContentReads
from peer.mount.effects import Effects, fact_at, made_at, reaching
from peer.mount.knowledge import Asked
from peer.mount.listing_pages import ListingPages, as_asked, page_of, with_attributes
from peer.mount.local_opens import LocalOpens
from peer.mount.quiet_files import QuietFiles
from peer.mount.stored_contents import Contents
from schema.attributes import FileMetadata
from schema.replies import (
    Copied,
    DirectoryPage,
    Done,
    FileData,
    Metadata,
    OpenedFile,
    ReplyBody,
    SymlinkTarget,
    Written,
    XattrNames,
    XattrValue,
)
from schema.requests import (
    AllocateSpace,
    Caller,
    CloseFile,
    CopyRange,
    CreateDir,
    CreateFile,
    CreateLink,
    CreateNode,
    CreateSymlink,
    DeleteFile,
    GetMetadata,
    GetXattr,
    ListDir,
    ListXattrs,
    LockFile,
    OpenFile,
    ReadFile,
    ReadSymlink,
    RemoveDir,
    RemoveXattr,
    RenamePath,
    SetMetadata,
    SetXattr,
    WriteFile,
)

Path = tuple[bytes, ...]
Reply = TypeVar("Reply", bound=ReplyBody)
Attributed = TypeVar("Attributed", Written, Metadata, Copied)

_EXCHANGE: Final = 2
_ABSENT: Final = "ENOENT"
_NO_DATA: Final = "ENODATA"


class CachedFileSystem(Decorator):
    """The caching `FileSystem` around another one. `changing(path)` hears before and after of all that we change."""

    def __init__(
        self,
        inner: FileSystem,
        known: CoherentCache,
        *,
        contents: Contents | None = None,
        quiet: QuietFiles | None = None,
        ask_first: Callable[[], bool] = lambda: False,
        xattrs: bool = True,
        changing: Callable[[Path], None] = lambda _: None,
    ) -> None:
        self._handles: Final = CachedHandles()
        self._opens: LocalOpens | None = None
        if contents is not None and quiet is not None:
            self._opens = LocalOpens(inner, known, self._handles, contents, quiet, ask_first=ask_first)
        super().__init__(inner if self._opens is None else self._opens.filesystem)
        self._reads: Final = None if contents is None else ContentReads(self.inner, contents, self._handles, known)
        self._changing: Final = changing
        self._known: Final = known
        self._xattrs: Final = xattrs
        self._verification: Final = BulkVerification(known, os.urandom)
        self._pages: Final = ListingPages()

    # --- looking

    def get_metadata(self, request: GetMetadata, caller: Caller) -> Metadata:
        """See `FileSystem`."""
        if request.handle:
            metadata = self._of_handle(request.handle)
            if metadata is None:
                metadata = self.inner.get_metadata(request, caller).metadata
                self._known.learn_file(metadata)
            return Metadata(metadata)
        if self._handles.is_locked(request.path):
            return self.inner.get_metadata(request, caller)
        known = self._known.metadata(request.path)
        if known is not None and known.suspect and known.metadata is not None:
            self._verify(request.path, caller)
            known = self._known.metadata(request.path)
        if known is not None and not known.suspect:
            return Metadata(_present(request.path, known.metadata))
        asked = self._known.asking()
        try:
            answer = self.inner.get_metadata(request, caller)
        except OperationFailed as failure:
            self._learn_absence(request.path, failure, asked)
            raise
        self._known.learn(request.path, answer.metadata, answer.as_of, asked)
        return answer

    def list_dir(self, request: ListDir, caller: Caller) -> DirectoryPage:
        """See `FileSystem`."""
        wanted = request.path, request.after, request.limit + 1
        known = self._known.listing(*wanted)
        if known is None and not request.after:
            self._ask_about(self._verification.about_names(request.path), caller)
            known = self._known.listing(*wanted)
        if known is not None:
            return page_of(known, request)
        asked = self._known.asking()
        page = self.inner.list_dir(with_attributes(request), caller)
        read = self._pages.add(request, page, asked)
        self._known.learn_listing(request.path, read.entries, read.as_of, read.asked, whole=read.whole)
        return as_asked(page, request)

    def read_symlink(self, request: ReadSymlink, caller: Caller) -> SymlinkTarget:
        """See `FileSystem`."""
        target = self._known.target(request.path)
        if target is not None:
            return SymlinkTarget(target)
        asked = self._known.asking(request.path)
        answer = self.inner.read_symlink(request, caller)
        self._known.learn_target(request.path, answer.target, answer.as_of, asked)
        return answer

    def get_xattr(self, request: GetXattr, caller: Caller) -> XattrValue:
        """See `FileSystem`."""
        if request.handle or not self._xattrs:
            return self.inner.get_xattr(request, caller)
        known = self._known.xattr(request.path, request.name)
        if known is not None:
            if known[0] is None:
                raise OperationFailed(_NO_DATA, "there is no such extended attribute")
            return XattrValue(known[0])
        asked = self._known.asking(request.path)
        try:
            answer = self.inner.get_xattr(request, caller)
        except OperationFailed as failure:
            if failure.code == _NO_DATA:
                self._known.learn_xattr(request.path, request.name, None, failure.as_of, asked)
            raise
        self._known.learn_xattr(request.path, request.name, answer.value, answer.as_of, asked)
        return answer

    def list_xattrs(self, request: ListXattrs, caller: Caller) -> XattrNames:
        """See `FileSystem`."""
        if request.handle or not self._xattrs:
            return self.inner.list_xattrs(request, caller)
        names = self._known.xattr_names(request.path)
        if names is not None:
            return XattrNames(names)
        asked = self._known.asking(request.path)
        answer = self.inner.list_xattrs(request, caller)
        self._known.learn_xattr_names(request.path, answer.names, answer.as_of, asked)
        return answer

    # --- open files

    def open_file(self, request: OpenFile, caller: Caller) -> OpenedFile:
        """See `FileSystem`."""
        here = None if self._opens is None else self._opens.open(request, caller)
        if here is not None:
            opened = here
        elif request.flags & os.O_TRUNC:
            effects = Effects(doubted=(request.path,), linked=True)
            opened = self._change(lambda: self.inner.open_file(request, caller), effects, fact_at(request.path))
        else:
            opened = self._open(request, caller)
        return self._opened(request, opened)

    def create_file(self, request: CreateFile, caller: Caller) -> OpenedFile:
        """See `FileSystem`."""
        effects = made_at(request.path)
        opened = self._change(lambda: self.inner.create_file(request, caller), effects, fact_at(request.path))
        return self._opened(request, opened)

    def read_file(self, request: ReadFile, caller: Caller) -> FileData:
        """See `FileSystem`."""
        if self._reads is None:
            return self.inner.read_file(request, caller)
        return self._reads.read(request, caller, self._of_handle(request.handle))

    def write_file(self, request: WriteFile, caller: Caller) -> Written:
        """See `FileSystem`."""
        return self._change_open(request.handle, lambda: self.inner.write_file(request, caller))

    def allocate_space(self, request: AllocateSpace, caller: Caller) -> Metadata:
        """See `FileSystem`."""
        return self._change_open(request.handle, lambda: self.inner.allocate_space(request, caller))

    def copy_range(self, request: CopyRange, caller: Caller) -> Copied:
        """See `FileSystem`."""
        return self._change_open(request.target, lambda: self.inner.copy_range(request, caller))

    def lock_file(self, request: LockFile, caller: Caller) -> Done:
        """See `FileSystem`."""
        self._handles.locked(request.handle)
        return self.inner.lock_file(request, caller)

    def close_file(self, request: CloseFile, caller: Caller) -> Done:
        """See `FileSystem`."""
        self._handles.closed(request.handle)
        if self._reads is not None:
            self._reads.closed(request.handle)
        return self.inner.close_file(request, caller)

    # --- changing names and attributes

    def set_metadata(self, request: SetMetadata, caller: Caller) -> Metadata:
        """See `FileSystem`."""
        if request.handle:
            return self._change_open(request.handle, lambda: self.inner.set_metadata(request, caller))
        effects = Effects(doubted=(request.path,))
        return self._change(lambda: self.inner.set_metadata(request, caller), effects, fact_at(request.path))

    def create_dir(self, request: CreateDir, caller: Caller) -> Metadata:
        """See `FileSystem`."""

        def told(reply: Metadata) -> Effects:
            return made_at(request.path)._replace(facts=((request.path, reply.metadata),), made=request.path)

        return self._change(lambda: self.inner.create_dir(request, caller), made_at(request.path), told)

    def create_symlink(self, request: CreateSymlink, caller: Caller) -> Metadata:
        """See `FileSystem`."""
        effects = made_at(request.path)
        return self._change(lambda: self.inner.create_symlink(request, caller), effects, fact_at(request.path))

    def create_node(self, request: CreateNode, caller: Caller) -> Metadata:
        """See `FileSystem`."""
        effects = made_at(request.path)
        return self._change(lambda: self.inner.create_node(request, caller), effects, fact_at(request.path))

    def create_link(self, request: CreateLink, caller: Caller) -> Metadata:
        """See `FileSystem`."""
        effects = Effects(doubted=(request.existing, request.path, request.path[:-1]), linked=True)
        return self._change(lambda: self.inner.create_link(request, caller), effects, reaching(effects))

    def remove_dir(self, request: RemoveDir, caller: Caller) -> Done:
        """See `FileSystem`."""
        return self._remove(request.path, lambda: self.inner.remove_dir(request, caller))

    def delete_file(self, request: DeleteFile, caller: Caller) -> Done:
        """See `FileSystem`."""
        self._to_be_moved(request.path)
        answer = self._remove(request.path, lambda: self.inner.delete_file(request, caller))
        self._handles.removed(request.path)
        return answer

    def rename_path(self, request: RenamePath, caller: Caller) -> Done:
        """See `FileSystem`."""
        names = (request.source, request.destination)
        self._to_be_moved(*names)
        effects = Effects(gone=names, doubted=tuple(path[:-1] for path in names), linked=True)
        answer = self._change(lambda: self.inner.rename_path(request, caller), effects)
        self._handles.renamed(*names, exchanged=bool(request.flags & _EXCHANGE))
        return answer

    def set_xattr(self, request: SetXattr, caller: Caller) -> Done:
        """See `FileSystem`."""
        effects = self._doubt(request.path, request.handle)
        return self._change(lambda: self.inner.set_xattr(request, caller), effects)

    def remove_xattr(self, request: RemoveXattr, caller: Caller) -> Done:
        """See `FileSystem`."""
        effects = self._doubt(request.path, request.handle)
        return self._change(lambda: self.inner.remove_xattr(request, caller), effects)

    # --- inside

    def _open(self, request: OpenFile, caller: Caller) -> OpenedFile:
        """Have the agent open it."""
        known = self._known.metadata(request.path)
        to_open = request
        if self._reads is not None:
            to_open = self._reads.to_open(request, known.metadata if known is not None else None)
        asked = self._known.asking()
        try:
            opened = self.inner.open_file(to_open, caller)
        except OperationFailed as failure:
            self._learn_absence(request.path, failure, asked)
            raise
        self._known.learn(request.path, opened.metadata, opened.as_of, asked)
        if self._opens is not None:
            self._opens.opened(request, opened)
        return opened if self._reads is None else self._reads.opened(request, opened, asked)

    def _learn_absence(self, path: Path, failure: OperationFailed, asked: Asked) -> None:
        if failure.code == _ABSENT:
            self._known.learn(path, None, failure.as_of, asked)

    def _verify(self, path: Path, caller: Caller) -> None:
        """Ask whether what is known of `path` holds, and what else is suspect in its directory."""
        self._ask_about(self._verification.about(path), caller)

    def _ask_about(self, question: Question | None, caller: Caller) -> None:
        if question is None:
            return
        try:
            answer = self.inner.verify_metadata(question.request, caller)
        except OperationFailed:
            return  # the question about what is wanted alone, which follows, says what is wrong
        self._verification.answered(question, answer)

    def _of_handle(self, handle: int) -> FileMetadata | None:
        """The attributes of an open file, if they are sure."""
        path = self._handles.path(handle)
        known = self._known.metadata(path) if path is not None and not self._handles.is_locked(path) else None
        if known is None or known.suspect or known.metadata is None:
            return None
        same = self._opens is None or self._opens.stands_for(handle, known.metadata)
        return known.metadata if same and self._handles.is_file(handle, known.metadata) else None

    def _to_be_moved(self, *paths: Path) -> None:
        if self._opens is not None:
            self._opens.to_be_moved(paths)

    def _opened(self, request: OpenFile | CreateFile, opened: OpenedFile) -> OpenedFile:
        self._handles.opened(opened.handle, request, opened.metadata)
        return opened

    def _doubt(self, path: Path, handle: int) -> Effects:
        if not handle:
            return Effects(doubted=(path,), linked=True)
        found = self._handles.path(handle)
        return Effects(doubted=() if found is None else (found,), files=self._handles.files(handle), linked=True)

    def _remove(self, path: Path, change: Callable[[], Done]) -> Done:
        effects = Effects(gone=(path,), doubted=(path[:-1],), linked=True)
        return self._change(change, effects, lambda _: effects._replace(absent=path))

    def _change_open(self, handle: int, change: Callable[[], Attributed]) -> Attributed:
        path, files = self._handles.path(handle), self._handles.files(handle)
        if path is None:
            return self._change(change, Effects(files=files, linked=True))

        def told(reply: Written | Metadata | Copied) -> Effects:
            # It may have had another name until just now, which is the only one that it has left.
            return Effects(by_handle=(path, reply.metadata), files=files, linked=True)

        return self._change(change, Effects(doubted=(path,), files=files, linked=True), told)

    def _change(
        self, change: Callable[[], Reply], effects: Effects, told: Callable[[Reply], Effects] | None = None
    ) -> Reply:
        """Do `change`: it has `effects`, or if it succeeds those that are `told` by its answer."""
        touched = (*effects.doubted, *effects.gone)
        for path in touched:
            self._changing(path)
        asked = self._known.changing(touched)
        try:
            answer = change()
        except BaseException as failure:
            as_of = failure.as_of if isinstance(failure, OperationFailed) else None
            self._known.changed(effects._replace(failed=True), as_of, asked)
            raise
        finally:
            for path in touched:
                self._changing(path)
        self._known.changed(told(answer) if told is not None else effects, answer.as_of, asked)
        return answer


def _present(path: Path, metadata: FileMetadata | None) -> FileMetadata:
    if metadata is None:
        raise OperationFailed(_ABSENT, f"there is no {path[-1]!r}" if path else "")
    return metadata
