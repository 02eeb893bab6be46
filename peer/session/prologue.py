"""What both ends must agree on before they shake hands.

The one rule: two different meanings never give the same bytes, so every part carries its length.
"""

from __future__ import annotations

import struct


def prologue(version: int, client_id: str, agent_id: str) -> bytes:
    """The Noise prologue: ``RemoteFS``, the version as u16, and both ids, each after its length in bytes as u16.

    All numbers are big-endian, ids are UTF-8. The client is the initiator.
    """
    parts = [b"RemoteFS", struct.pack(">H", version)]
    for identity in (client_id, agent_id):
        encoded = identity.encode()
        parts += (struct.pack(">H", len(encoded)), encoded)
    return b"".join(parts)
