"""What an agent's answer must keep to, beyond its shape: sizes within what was asked, names that are names.

The one rule: an agent is hostile until its answer is checked, and one that does not keep to this is a failure (EPROTO)
of that one operation, never wrong bytes or a name that leads elsewhere.
"""

from __future__ import annotations

from peer.errors import OperationFailed
from schema.failure_codes import MALFORMED
from schema.paths import PathError, checked_name
from schema.replies import (
    AnyReply,
    Copied,
    DirectoryPage,
    FileData,
    OpenedFile,
    Position,
    SymlinkTarget,
    VerifiedMetadata,
    Written,
    XattrNames,
)
from schema.requests import (
    AnyRequest,
    CopyRange,
    ListDir,
    OpenFile,
    ReadFile,
    SeekData,
    VerifyMetadata,
    WriteFile,
)


def check_answer(request: AnyRequest, answer: AnyReply) -> None:
    """Raise `OperationFailed` unless `answer` could be a true one. Whether it has the right shape is not looked at."""
    complaint = _complaint(request, answer)
    if complaint:
        raise OperationFailed(MALFORMED, f"the agent's answer to {type(request).__name__} {complaint}")


def _complaint(request: AnyRequest, answer: AnyReply) -> str:
    match request, answer:
        case ReadFile(), FileData():
            return _too_much(len(answer.data), request.size)
        case OpenFile(), OpenedFile():
            return _too_much(len(answer.data), request.first_bytes)
        case WriteFile(), Written():
            return _too_much(answer.size, len(request.data))
        case CopyRange(), Copied():
            return _too_much(answer.size, request.length)
        case SeekData(), Position() if answer.offset < request.offset:
            return "lies before where the search began"
        case _, SymlinkTarget() if b"\0" in answer.target:
            return "has a NUL in it"
        case _, XattrNames() if any(b"\0" in name for name in answer.names):
            return "has a NUL in a name"
    return _about_names(request, answer)


def _about_names(request: AnyRequest, answer: AnyReply) -> str:
    match request, answer:
        case ListDir(), DirectoryPage():
            return _of_page(request, answer)
        case VerifyMetadata(), VerifiedMetadata():
            return _of_verified(request, answer)
    return ""


def _of_page(request: ListDir, page: DirectoryPage) -> str:
    if len(page.entries) > request.limit:
        return _too_much(len(page.entries), request.limit)
    if not page.entries and not page.complete:
        return "says that there is more, and gives none of it"
    last = request.after
    for entry in page.entries:
        try:
            checked_name(entry.name)
        except PathError as error:
            return f"names what is no file: {error}"
        if entry.name <= last:
            return "is not in the order of names, so reading on would not end"
        last = entry.name
    return ""


def _of_verified(request: VerifyMetadata, answer: VerifiedMetadata) -> str:
    asked, told = len(request.directories), len(answer.directories)
    if asked != told:
        return f"tells of {told} directories where {asked} were asked about"
    if any(changed.index >= len(request.names) for changed in answer.changed):
        return "tells of a name that was not asked about"
    for appeared in answer.appeared:
        at = appeared.directory
        if at >= asked or not answer.directories[at].complete or not request.directories[at].whole:
            return "tells of other names where it does not tell of all"
        try:
            checked_name(appeared.name)
        except PathError as error:
            return f"names what is no file: {error}"
    return ""


def _too_much(given: int, asked: int) -> str:
    return f"is of {given}, which is more than the {asked} asked for" if given > asked else ""
