"""Nobody gets the ports that another test has, though no program of it listens on them."""

from __future__ import annotations

import contextlib
import os
import socket
import sys

import pytest

from tests.stack.ports import SLOT, reserved_ports
from tests.stack.processes import run

FIRST = 30_000 + 8 * SLOT * (os.getpid() % 15)
"""A row of which nobody else takes any, or this test elsewhere."""


def test_ports_are_taken_once_and_given_back():
    for _ in range(2):
        with contextlib.ExitStack() as stack:
            had = {stack.enter_context(reserved_ports(FIRST, FIRST + 3 * SLOT)) for _ in range(3)}
            assert had == {FIRST, FIRST + SLOT, FIRST + 2 * SLOT}
            with pytest.raises(AssertionError, match="no free ports"), reserved_ports(FIRST, FIRST + 3 * SLOT):
                pass
            script = f"from tests.stack.ports import reserved_ports as r\nwith r({FIRST}, {FIRST + SLOT}): pass"
            assert "no free ports" in run(sys.executable, "-c", script, status=1)


def test_ports_on_which_somebody_listens_are_not_chosen():
    row = FIRST + 4 * SLOT
    with (
        socket.create_server(("127.0.0.1", row + SLOT - 1)),
        pytest.raises(AssertionError, match="no free ports"),
        reserved_ports(row, row + SLOT),
    ):
        pass
