"""Programs of one client that keep files open to change them, whatever name they have by then.

The one rule: what is changed by a handle is changed by this client, so afterwards it shows nothing older of that file.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from peer.errors import OperationFailed
from schema.requests import AnyRequest, CloseFile, OpenFile, SetMetadata, SetXattr, WriteFile
from tests.simulation.coherence.machine import NOBODY, XATTR, Path

if TYPE_CHECKING:
    from tests.simulation.coherence.client import Client

_MOST = 3
"""Files that are open at a time."""


class Writers:
    """The writers of `client`."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._open: list[tuple[int, Path]] = []

    def hold(self, path: Path) -> str:
        """open, and close what was opened first when there are too many."""
        client = self._client
        if len(self._open) >= _MOST:
            client.files.close_file(CloseFile(self._open.pop(0)[0]), NOBODY)
        try:
            opened = client.files.open_file(OpenFile(path, os.O_RDWR), NOBODY)
        except OperationFailed as failure:
            return failure.code
        self._open.append((opened.handle, path))
        return "held"

    def change(self) -> str:
        """write, fchmod or fsetxattr."""
        if not self._open:
            return "nothing is open"
        random = self._client.world.random
        # A kernel closes no file that is being changed.
        handle, path = self._open.pop(random.randrange(len(self._open)))
        request: AnyRequest = random.choice(
            (
                WriteFile(handle, 0, memoryview(random.randbytes(random.randrange(1, 4)))),
                SetMetadata((), handle, mode=random.randrange(0o1000)),
                SetXattr((), handle, name=XATTR, value=random.randbytes(1)),
            )
        )
        try:
            return self._client.change(request, path)
        finally:
            self._open.append((handle, path))
