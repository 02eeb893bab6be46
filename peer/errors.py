"""What can go wrong in a peer: one root, so that a caller can catch all of ours and nothing else."""

from __future__ import annotations

from schema.changes import Moment


class PeerError(Exception):
    """Root of all errors of the peers; the message says what happened, to which thing, and what to do."""


class OperationFailed(PeerError):
    """A file operation that was not done. `code` is one of `schema.failure_codes`, e.g. ``ENOENT``.

    This is how every `FileSystem` reports failure; only the FUSE edge turns it into an errno. `as_of` is that of the
    agent's answer (`ReplyBody.as_of`), so that a name which is not there can be remembered.
    """

    def __init__(self, code: str, message: str = "", as_of: Moment | None = None) -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.code = code
        self.message = message
        self.as_of = as_of


class SessionError(PeerError):
    """Something end to end was refused; the message that was refused changed nothing."""


class AuthenticationFailed(SessionError):
    """A ciphertext that its key, nonce and associated data do not authenticate."""


class HandshakeRefused(SessionError):
    """A handshake message that is malformed, forged, or from someone who may not shake hands."""


class FrameRefused(SessionError):
    """A sealed body that is forged, repeated, or too late for its session."""


class UnknownSession(SessionError):
    """An index that names no live session here: the initiator is to shake hands again."""


class SessionExhausted(SessionError):
    """A key that has sealed all that it may: shake hands again before sending more."""


class BodyTooLarge(SessionError):
    """A request or reply that is longer than the other end would take."""


class LinkError(PeerError):
    """The broker cannot be used: not reached, or it does not take us; the message says which and what to do."""


class KeyRefused(PeerError):
    """A key file that is missing, exposed, or not this peer's."""


class CertificateRefused(PeerError):
    """A certificate that cannot be read or written, or that contradicts what is pinned."""


class UnknownPeer(PeerError):
    """A peer that no trusted certificate names."""


class KeptDataRefused(PeerError):
    """What was kept on this machine's disk is torn, was tampered with, or is of another version of its format."""


class TryAgainLater(HandshakeRefused):
    """A handshake that is in order, but cannot be taken at this moment."""


class UnknownClient(HandshakeRefused):
    """The agent trusts no client of that id."""


class ClientKeyChanged(HandshakeRefused):
    """A client shows another identity key than the one that is pinned for it; the message has both fingerprints."""
