"""A hostile agent's answers are failures of their operation."""

from __future__ import annotations

import pytest

from peer.errors import OperationFailed
from peer.mount.answer_checks import check_answer
from schema.attributes import FileMetadata
from schema.failure_codes import MALFORMED
from schema.known_names import AppearedName, ChangedName, KnownDirectory, KnownName, VerifiedDirectory
from schema.replies import (
    AnyReply,
    Copied,
    DirectoryEntry,
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
    ListXattrs,
    OpenFile,
    ReadFile,
    ReadSymlink,
    SeekData,
    VerifyMetadata,
    WriteFile,
)

METADATA = FileMetadata(*[1] * 13)


def page(*names: bytes, complete: bool = True) -> DirectoryPage:
    return DirectoryPage(tuple(DirectoryEntry(name, 1, 0) for name in names), complete)


def data(size: int) -> memoryview:
    return memoryview(bytes(size))


VERIFY = VerifyMetadata(
    b"s" * 16,
    (KnownDirectory((b"d",), 1), KnownDirectory((b"e",), 1, whole=True)),
    (KnownName(b"a", 1), KnownName(b"b", None)),
)
SEEN = VerifiedDirectory(found=True, complete=True)
LIST = ListDir((), b"b", 2)

GOOD: list[tuple[AnyRequest, AnyReply]] = [
    (LIST, page(b"c", b"d")),
    (LIST, page()),
    (LIST, page(b"\xff", complete=False)),
    (ReadFile(1, 0, 4), FileData(data(4))),
    (ReadFile(1, 0, 4), FileData(data(0))),
    (OpenFile((b"a",), 0, 3), OpenedFile(1, METADATA, 0, data(3))),
    (WriteFile(1, 0, data(3)), Written(3, METADATA)),
    (CopyRange(1, 0, 2, 0, 5), Copied(5, METADATA)),
    (SeekData(1, 9, 3), Position(9)),
    (VERIFY, VerifiedMetadata((SEEN, SEEN), (ChangedName(1, None),), (AppearedName(1, b"n", METADATA),))),
    (ReadSymlink((b"l",)), SymlinkTarget(b"../../etc/passwd")),
    (ListXattrs((b"a",)), XattrNames((b"user.a",))),
]

BAD: list[tuple[AnyRequest, AnyReply, str]] = [
    (LIST, page(b"c", b"d", b"e"), "more than the 2"),
    (LIST, page(complete=False), "none of it"),
    (LIST, page(b"."), "no file"),
    (LIST, page(b".."), "no file"),
    (LIST, page(b"x" * 256), "no file"),
    (LIST, page(b"c/d"), "no file"),
    (LIST, page(b"c\0"), "no file"),
    (LIST, page(b"b"), "order"),
    (LIST, page(b"d", b"c"), "order"),
    (LIST, page(b"c", b"c"), "order"),
    (ReadFile(1, 0, 4), FileData(data(5)), "more than the 4"),
    (OpenFile((b"a",), 0, 3), OpenedFile(1, METADATA, 0, data(4)), "more than the 3"),
    (WriteFile(1, 0, data(3)), Written(4, METADATA), "more than the 3"),
    (CopyRange(1, 0, 2, 0, 5), Copied(6, METADATA), "more than the 5"),
    (SeekData(1, 9, 3), Position(8), "before"),
    (VERIFY, VerifiedMetadata((SEEN,)), "1 directories where 2"),
    (VERIFY, VerifiedMetadata((SEEN, SEEN), (ChangedName(2, None),)), "not asked about"),
    (VERIFY, VerifiedMetadata((SEEN, SEEN), (), (AppearedName(2, b"n", METADATA),)), "not tell of all"),
    (VERIFY, VerifiedMetadata((SEEN, VerifiedDirectory(True)), (), (AppearedName(1, b"n", METADATA),)), "not tell"),
    (VERIFY, VerifiedMetadata((SEEN, SEEN), (), (AppearedName(1, b"..", METADATA),)), "no file"),
    (ReadSymlink((b"l",)), SymlinkTarget(b"a\0b"), "NUL"),
    (ListXattrs((b"a",)), XattrNames((b"user.\0",)), "NUL"),
]


@pytest.mark.parametrize(("request_", "answer"), GOOD)
def test_an_answer_that_could_be_true_passes(request_: AnyRequest, answer: AnyReply) -> None:
    check_answer(request_, answer)


@pytest.mark.parametrize(("request_", "answer", "why"), BAD)
def test_one_that_could_not_is_a_failure(request_: AnyRequest, answer: AnyReply, why: str) -> None:
    with pytest.raises(OperationFailed, match=why) as failure:
        check_answer(request_, answer)
    assert failure.value.code == MALFORMED
