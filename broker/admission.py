"""Who may connect, and who may talk to whom: the `authorized` directory and the configured pairs.

The one rule: a *user id* stands for one peer and one key. It is what ZAP writes into every frame of a connection, so
when a certificate is deleted or replaced, the connections made with the old key name a user that is no longer known,
and each of their frames is refused from then on without any search for them.

The directory is listed again about once a second, in the server's own loop, rather than watched: one `scandir` of a
few entries costs microseconds, needs no thread, and misses nothing when the directory itself is replaced, mounted over
or lives on a network file system, where inotify is silent.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from schema.identity import Certificate, IdentityError, PeerId, PublicKey, decode_certificate

log = logging.getLogger("broker.admission")

_MAX_CERTIFICATE: Final = 65_536
_Listing = tuple[tuple[str, int, int, int], ...]


def user_id_of(certificate: Certificate) -> str:
    """The ZAP User-Id of a peer that proved to hold this certificate's transport key: id and 16 hex digits of it."""
    return f"{certificate.id}#{hashlib.sha256(certificate.transport_key).hexdigest()[:16]}"


class Admission:
    """The peers admitted now, by transport key and by user id, and the pairs among them."""

    def __init__(self, pairs: Iterable[tuple[PeerId, PeerId]]) -> None:
        """`pairs` are (client, agent)."""
        self.pairs: Final = frozenset(pairs)
        self.agents: Final = frozenset(agent for _, agent in self.pairs)
        self.peers: dict[str, PeerId] = {}
        """User id -> peer, for every peer admitted now. Replaced as a whole, never changed in place."""
        self._by_key: dict[PublicKey, Certificate] = {}

    def user_of_key(self, transport_key: bytes) -> str | None:
        """The user id of the peer that owns this key, or None when nobody admitted does."""
        certificate = self._by_key.get(PublicKey(transport_key))
        return user_id_of(certificate) if certificate else None

    def paired(self, client: PeerId, agent: PeerId) -> bool:
        """May `client` use `agent`?"""
        return (client, agent) in self.pairs

    def admit_only(self, certificates: Iterable[Certificate]) -> frozenset[PeerId]:
        """Admit these and nobody else. Gives the peers of which an earlier certificate no longer counts."""
        by_key: dict[PublicKey, Certificate] = {}
        by_id: dict[PeerId, Certificate] = {}
        for certificate in certificates:
            if certificate.id in by_id:
                log.warning("a second certificate for %s is refused: %s", certificate.id, certificate.fingerprint)
            elif certificate.transport_key in by_key:
                owner = by_key[certificate.transport_key].id
                log.warning("the certificate of %s is refused: its transport key is that of %s", certificate.id, owner)
            else:
                by_id[certificate.id] = by_key[certificate.transport_key] = certificate
        before = self.peers
        self._by_key = by_key
        self.peers = {user_id_of(certificate): certificate.id for certificate in by_key.values()}
        for user, peer in self.peers.items():
            if user not in before:
                log.info("%s is authorised: %s", peer, by_id[peer].fingerprint)
        revoked = frozenset(peer for user, peer in before.items() if user not in self.peers)
        for peer in sorted(revoked):
            log.warning("%s is no longer authorised by the certificate it had", peer)
        return revoked


class AuthorizedDirectory:
    """The directory of ``*.cert`` files, read again when its listing has changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: _Listing | None = None
        self._complained = False

    def changed(self) -> list[Certificate] | None:
        """Every certificate in the directory, by file name, if it changed since the last call; otherwise None.

        A file that is no certificate is logged and skipped. A directory that was deleted admits nobody; one that
        cannot be listed for another reason (an input/output error, say) changes nothing and is logged once.
        """
        try:
            listing = _list(self._path)
        except OSError as error:
            if not self._complained:
                log.error("%s cannot be listed, the admitted peers stay as they are: %s", self._path, error.strerror)
            self._complained = True
            return None
        self._complained = False
        if listing == self._seen:
            return None
        self._seen = listing
        found = (_read(self._path / name) for name, *_ in listing)
        return [certificate for certificate in found if certificate is not None]


def _list(path: Path) -> _Listing:
    entries: list[tuple[str, int, int, int]] = []
    try:
        with os.scandir(path) as scan:
            for entry in scan:
                if not entry.name.endswith(".cert"):
                    continue
                try:
                    status = entry.stat()
                except FileNotFoundError:
                    continue  # deleted between the listing and the look: it is not there
                if stat.S_ISREG(status.st_mode):
                    entries.append((entry.name, status.st_mtime_ns, status.st_size, status.st_ino))
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR):
            raise
        log.error("%s is not there: no peer is authorised", path)
    return tuple(sorted(entries))


def _read(path: Path) -> Certificate | None:
    try:
        with path.open("rb") as file:
            return decode_certificate(file.read(_MAX_CERTIFICATE).decode("utf-8"))
    except OSError as error:
        log.warning("%s is skipped: %s", path, error.strerror)
    except (UnicodeDecodeError, IdentityError) as error:
        log.warning("%s is skipped: %s", path, error)
    return None
