"""What can go wrong in a peer: one root, so that a caller can catch all of ours and nothing else."""

from __future__ import annotations


class PeerError(Exception):
    """Root of all errors of the peers; the message says what happened, to which thing, and what to do."""


class OperationFailed(PeerError):
    """A file operation that was not done. `code` is one of `schema.failure_codes`, e.g. ``ENOENT``.

    This is how every `FileSystem` reports failure; only the FUSE edge turns it into an errno.
    """

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.code = code
        self.message = message
