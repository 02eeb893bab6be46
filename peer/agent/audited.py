"""Which requests the audit records, and what paths they speak of: pure.

The one rule: what changes something or opens it up leaves a line, whatever came of it; so does every refusal. What only
looks (attributes, links, attributes beyond them) and what a handle was opened for (reading, writing, locking) leaves
none unless it is refused: a mount asks thousands of such questions a second.
"""

from __future__ import annotations

from typing import Final

from schema import requests
from schema.requests import AnyRequest

_ALWAYS: Final = (
    requests.Attach,
    requests.SetMetadata,
    requests.OpenFile,
    requests.CreateFile,
    requests.CreateDir,
    requests.RemoveDir,
    requests.DeleteFile,
    requests.RenamePath,
    requests.CreateLink,
    requests.CreateSymlink,
    requests.CreateNode,
    requests.SetXattr,
    requests.RemoveXattr,
    requests.AllocateSpace,
    requests.CopyRange,
)
_REFUSALS: Final = frozenset({"EACCES", "EPERM", "EROFS"})

Paths = tuple[tuple[bytes, ...] | None, tuple[bytes, ...] | None]


def is_audited(request: AnyRequest, outcome: str) -> bool:
    """Whether `request`, that ended in `outcome` (``ok`` or a failure code), is recorded."""
    if outcome in _REFUSALS or isinstance(request, _ALWAYS):
        return True
    return isinstance(request, requests.ListDir) and not request.after


def paths_of(request: AnyRequest) -> Paths:
    """The path that `request` names, and the second one where it has two."""
    if isinstance(request, requests.RenamePath):
        return request.source, request.destination
    if isinstance(request, requests.CreateLink):
        return request.existing, request.path
    return getattr(request, "path", None), None
