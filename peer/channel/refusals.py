"""Why an agent takes no handshake, in words for the person who mounts.

The one rule: these are hints. Nobody authenticated the refusal, so they name both fingerprints and decide nothing.
"""

from __future__ import annotations

from typing import Final

from schema.session_messages import Refusal, RefusalCode

_SENTENCES: Final = {
    RefusalCode.UNKNOWN_CLIENT: "the agent refuses this client: its certificate is not among those that it trusts",
    RefusalCode.KEY_CHANGED: "the agent refuses this client: it trusts another key of it; compare the fingerprints",
    RefusalCode.UNDECIPHERABLE: (
        "the agent refuses what is sealed to the key pinned for it: expected {pinned}, its own is {seen}"
    ),
    RefusalCode.BUSY: "the agent refuses new sessions for the moment: it has too many",
}


def explained(refusal: Refusal, pinned: str) -> str:
    """One sentence for `refusal`; `pinned` is the fingerprint of the agent's identity key as it is known here."""
    return _SENTENCES[refusal.code].format(pinned=pinned, seen=refusal.fingerprint)
