"""What the kernel must be told when our word on a name changes or ends. Pure.

The one rule: in doubt it is told. A notification about what the kernel does not hold costs microseconds, one that is
missing leaves a wrong answer for as long as the kernel was told to believe it.
"""

from __future__ import annotations

import enum
from collections.abc import Callable

from peer.mount.metadata_node import ABSENT, same_file, same_version, verifiable

Path = tuple[bytes, ...]


class Withdrawal(enum.IntFlag):
    """What is not vouched for any more."""

    NOTHING = 0
    ATTRIBUTES = 1
    PAGES = 2
    NAME = 4
    """What the name means, or that it means nothing: it may be right still."""
    MEANING = 8
    """The same, known to be wrong."""


EVERYTHING = Withdrawal.ATTRIBUTES | Withdrawal.PAGES | Withdrawal.MEANING
UNSURE = Withdrawal.ATTRIBUTES | Withdrawal.NAME
NAMES = Withdrawal.NAME | Withdrawal.MEANING

Withdraw = Callable[[Path, Withdrawal], None]
"""Hears what is withdrawn, under the lock of who says it: it neither blocks nor asks back."""


def withdrawal(before: bytes | None, after: bytes | None) -> Withdrawal:
    """What a change of packed attributes (see `metadata_node`) withdraws; None is for what is not known."""
    if before is None:
        return Withdrawal.NOTHING
    if after is None:
        return UNSURE
    if verifiable(before) == verifiable(after):
        return Withdrawal.NOTHING
    if before == ABSENT:
        return Withdrawal.MEANING
    if not same_file(before, after):
        return EVERYTHING
    if same_version(before, after):
        return Withdrawal.ATTRIBUTES
    return Withdrawal.ATTRIBUTES | Withdrawal.PAGES
