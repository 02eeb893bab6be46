"""Stable error codes on the wire, and the errno of the machine they are read on.

The one rule: a code is the *name* of an errno (numbers differ between systems) or one of ours below; a code that this
machine does not know becomes EIO, never success.
"""

from __future__ import annotations

import errno
from typing import Final

STALE_HANDLE: Final = "STALE_HANDLE"
"""The agent knows no such open file (it restarted, say): open it again by path and ask again."""

MALFORMED: Final = "MALFORMED"
"""A body that is no request or reply within bounds."""

_OURS: Final = {STALE_HANDLE: errno.ESTALE, MALFORMED: errno.EPROTO}


def code_of(number: int) -> str:
    """The wire code of an errno of this machine; EIO for a number without a name."""
    return errno.errorcode.get(number, "EIO")


def errno_of(code: str) -> int:
    """The errno on this machine of a wire code; EIO for a code that is not known here."""
    number = _OURS.get(code)
    if number is None:
        number = getattr(errno, code, errno.EIO) if code.startswith("E") else errno.EIO
    return number if isinstance(number, int) else errno.EIO
