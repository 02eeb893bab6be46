"""Which change of what is known takes which word back."""

from __future__ import annotations

import pytest

from peer.mount.metadata_node import ABSENT, pack
from peer.mount.withdrawals import EVERYTHING, UNSURE, Withdrawal, withdrawal
from tests.peer.mount.samples import FILE, metadata

BOTH = Withdrawal.ATTRIBUTES | Withdrawal.PAGES


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (FILE, Withdrawal.NOTHING),
        (metadata(atime_ns=99), Withdrawal.NOTHING),
        (metadata(mode=0o100600), Withdrawal.ATTRIBUTES),
        (metadata(size=4), BOTH),
        (metadata(mtime_ns=99), BOTH),
        (metadata(ctime_ns=99), BOTH),
        (metadata(inode=12), EVERYTHING),
        (metadata(volume=6), EVERYTHING),
        (None, EVERYTHING),
    ],
)
def test_of_a_file(after, expected):
    assert withdrawal(pack(FILE), pack(after)) == expected


def test_of_what_was_absent_or_becomes_unknown():
    assert withdrawal(ABSENT, pack(FILE)) == Withdrawal.MEANING
    assert withdrawal(ABSENT, ABSENT) == Withdrawal.NOTHING
    assert withdrawal(pack(FILE), None) == withdrawal(ABSENT, None) == UNSURE
    assert withdrawal(None, pack(FILE)) == Withdrawal.NOTHING
