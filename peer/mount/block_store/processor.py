"""Which cipher this machine's processor is made for.

The one rule: one machine, one answer, always the same: what was sealed with the other cipher is not found again. So it
is not measured but read, and in doubt it is the one that needs no instructions of its own.
"""

from __future__ import annotations

import contextlib
import re
from typing import Final

from peer.session.primitives import AesCipher, Cipher

_FLAGS: Final = re.compile(r"^(?:flags|Features)\s*:(.*)$", re.MULTILINE)
_NEEDED: Final = ({"aes", "pclmulqdq"}, {"aes", "pmull"})
"""Instructions for AES and for GCM's products, as x86-64 and 64-bit ARM have them."""


def best_cipher(cpuinfo: str = "/proc/cpuinfo") -> type[Cipher]:
    """AES-256-GCM where the processor has instructions for it (nearly all since 2011), ChaCha20-Poly1305 elsewhere."""
    with contextlib.suppress(OSError), open(cpuinfo, encoding="utf-8", errors="replace") as file:
        flags = _FLAGS.search(file.read())
        if flags is not None and any(needed <= set(flags[1].split()) for needed in _NEEDED):
            return AesCipher
    return Cipher
