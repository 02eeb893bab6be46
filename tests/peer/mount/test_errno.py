"""Every exception of a callback as the errno that a system call reports."""

from __future__ import annotations

import errno
import logging

import pytest

fuse_binding = pytest.importorskip("peer.mount.fuse_binding", exc_type=OSError)

from peer.errors import OperationFailed  # noqa: E402 - after the skip
from schema.failure_codes import MALFORMED, STALE_HANDLE  # noqa: E402
from schema.paths import PathError  # noqa: E402


@pytest.mark.parametrize(
    ("failure", "number"),
    [
        (OperationFailed("ENOENT"), errno.ENOENT),
        (OperationFailed("ENOSPC"), errno.ENOSPC),
        (OperationFailed(STALE_HANDLE), errno.ESTALE),
        (OperationFailed(MALFORMED), errno.EPROTO),
        (OperationFailed("ESOMETHING_NEW"), errno.EIO),
        (PathError("long", too_long=True), errno.ENAMETOOLONG),
        (PathError("odd"), errno.EINVAL),
        (OSError(errno.EXDEV, "x"), errno.EXDEV),
        (InterruptedError(errno.EINTR, "x"), errno.EINTR),
    ],
)
def test_a_failure_that_calls_may_report(failure, number, caplog):
    assert fuse_binding.number_of(failure) == number
    assert not caplog.records


@pytest.mark.parametrize(
    "failure", [KeyError("x"), OSError("without number"), OSError(-5, "negative"), MemoryError(), KeyboardInterrupt()]
)
def test_anything_else_is_eio_and_logged(failure, caplog):
    with caplog.at_level(logging.ERROR):
        assert fuse_binding.number_of(failure) == errno.EIO
    assert caplog.records
