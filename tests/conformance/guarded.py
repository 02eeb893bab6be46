"""What every file system under test does at its border: check the paths, turn errno into codes.

The one rule: what leaves is a reply or `OperationFailed`; an `OSError` becomes its code, a path that must not be
walked is refused before anything looks at it.
"""

from __future__ import annotations

from typing import Final, TypeVar

from peer.errors import OperationFailed
from peer.filesystem import Decorator, FileSystem
from schema.failure_codes import STALE_HANDLE, code_of
from schema.paths import PathError, checked
from schema.requests import AnyRequest, Caller

R = TypeVar("R")

_PATH_FIELDS = ("path", "existing", "source", "destination")


class StaleHandle(OperationFailed):
    """A handle that is not, or no longer, one of an open file."""

    def __init__(self, handle: int) -> None:
        super().__init__(STALE_HANDLE, f"no open file has the handle {handle}")


class Guarded(Decorator):
    """Wraps a file system whose methods raise `OSError`. Without `lengths`, that one says itself what is too long."""

    def __init__(self, inner: FileSystem, *, lengths: bool = True) -> None:
        super().__init__(inner)
        self._lengths: Final = lengths

    def _perform(self, request: AnyRequest, caller: Caller, reply: type[R]) -> R:
        try:
            for path in (*(getattr(request, field, ()) for field in _PATH_FIELDS), *getattr(request, "paths", ())):
                self._check(path)
            return super()._perform(request, caller, reply)
        except PathError as error:
            raise OperationFailed("ENAMETOOLONG" if error.too_long else "EINVAL", str(error)) from error
        except OSError as error:
            raise OperationFailed(code_of(error.errno or 0), str(error)) from error

    def _check(self, path: tuple[bytes, ...]) -> None:
        try:
            checked(path)
        except PathError as error:
            if self._lengths or not error.too_long:
                raise
