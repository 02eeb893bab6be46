"""The other ends that this peer trusts: a directory of certificates, read again whenever it changes.

The one rule: what the directory does not say now is not trusted; a certificate that is deleted, replaced or unreadable
ends the trust in its peer at the next `refresh`.
"""

from __future__ import annotations

import hmac
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from peer.certificates import CERTIFICATE_SUFFIX, read_certificate
from peer.errors import CertificateRefused, ClientKeyChanged, UnknownClient, UnknownPeer
from schema.identity import Certificate, PeerId, PublicKey, fingerprint

_log = logging.getLogger(__name__)

REFRESH_INTERVAL: Final = 1.0
"""Seconds between two looks at the directory."""

_Stamp = tuple[str, int, int, int, int]


class PinnedPeers:
    """Certificates by peer id. Reading is thread-safe; `refresh` is called by one thread."""

    def __init__(self, directory: Path) -> None:
        """Read `directory`. Raises `CertificateRefused` when it cannot be read at all."""
        self._directory = directory
        self._checked_at = float("-inf")
        self._stamps = self._look()
        self._pinned = self._read(self._stamps)

    def __len__(self) -> int:
        """Peers that are trusted now."""
        return len(self._pinned)

    def refresh(self, now: float) -> frozenset[PeerId]:
        """Look at the directory again, at most once in `REFRESH_INTERVAL` seconds; `now` is any monotonic clock.

        Gives the peers whose trust ended or whose keys changed since: what is open with them is to be closed. A
        directory that cannot be read any more trusts nobody.
        """
        if now - self._checked_at < REFRESH_INTERVAL:
            return frozenset()
        self._checked_at = now
        try:
            stamps = self._look()
        except CertificateRefused as error:
            if self._pinned:
                _log.error("%s; nobody is trusted until it can be read", error)
            stamps = frozenset()
        if stamps == self._stamps:
            return frozenset()
        before, after = self._pinned, self._read(stamps)
        self._stamps, self._pinned = stamps, after
        changed = frozenset(peer for peer, was in before.items() if after.get(peer) != was)
        for peer in sorted(changed):
            _log.warning("%s: %s", peer, "its certificate was replaced" if peer in after else "is not trusted any more")
        for peer in sorted(after.keys() - before.keys()):
            _log.info("%s: is trusted now: %s", peer, after[peer].fingerprint)
        return changed

    def identity_key_of(self, peer: str) -> PublicKey:
        """The pinned end-to-end key of `peer`. Raises `UnknownPeer`."""
        certificate = self._pinned.get(PeerId(peer))
        if certificate is None or certificate.identity_key is None:
            raise UnknownPeer(
                f"{peer!r} is not trusted: there is no certificate of it in {self._directory} "
                f"(remotefs trust {peer}{CERTIFICATE_SUFFIX} --into {self._directory})"
            )
        return certificate.identity_key

    def key_of(self, peer: str) -> PublicKey | None:
        """The pinned end-to-end key of `peer`; None for one that is not trusted."""
        certificate = self._pinned.get(PeerId(peer))
        return None if certificate is None else certificate.identity_key

    def trusts(self, peer: str, static_key: bytes) -> bool:
        """Whether `static_key` is the one pinned for `peer` now."""
        pinned = self.key_of(peer)
        return pinned is not None and hmac.compare_digest(pinned, static_key)

    def identify(self, client: str, static_key: bytes) -> None:
        """Check that `static_key`, proven in a handshake, is the one pinned for `client`.

        Raises `UnknownClient` or `ClientKeyChanged`, which are `HandshakeRefused`.
        """
        if self.trusts(client, static_key):
            return
        seen = fingerprint(static_key)
        try:
            pinned = self.identity_key_of(client)
        except UnknownPeer as error:
            raise UnknownClient(f"{error}; its identity key is {seen}") from None
        raise ClientKeyChanged(
            f"the identity key of {client!r} is not the pinned one: expected {fingerprint(pinned)}, seen {seen}. "
            f"If its owner confirms the new key: "
            f"remotefs trust {client}{CERTIFICATE_SUFFIX} --into {self._directory} --replace"
        )

    def _look(self) -> frozenset[_Stamp]:
        try:
            return frozenset(self._stamp_files())
        except OSError as error:
            raise CertificateRefused(f"{self._directory}: cannot be read: {error.strerror}") from error

    def _stamp_files(self) -> Iterator[_Stamp]:
        with os.scandir(self._directory) as entries:
            for entry in entries:
                if not entry.name.endswith(CERTIFICATE_SUFFIX) or entry.name.startswith("."):
                    continue
                try:
                    status = entry.stat()
                except OSError:
                    yield (entry.name, 0, 0, 0, 0)  # reading it says why it cannot be read
                    continue
                # The change time moves with every write, rename and chmod, whatever was done to the modification time.
                yield (entry.name, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)

    def _read(self, stamps: frozenset[_Stamp]) -> dict[PeerId, Certificate]:
        pinned: dict[PeerId, Certificate] = {}
        for name in sorted(stamp[0] for stamp in stamps):
            path = self._directory / name
            try:
                certificate = read_certificate(path)
            except CertificateRefused as error:
                _log.error("%s; it is skipped", error)
                continue
            if certificate.identity_key is None:
                _log.error("%s: is of a relay: it has no identity key; it is skipped", path)
            elif certificate.id in pinned:
                _log.error("%s: another file has a certificate of %s already; it is skipped", path, certificate.id)
            else:
                pinned[certificate.id] = certificate
        return pinned
