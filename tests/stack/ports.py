"""Ports for programs of a test, told to them before they listen.

The one rule: a port is nobody else's from its choice to the end of who chose it, also while the program that listens on
it is being started again. Tests run in several processes, which hold a name each for what they have chosen.
"""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Iterator

LOWEST, HIGHEST = 20_000, 30_000
"""Below those that the system gives to connections by itself."""
SLOT = 8
"""Ports of one choice."""


@contextlib.contextmanager
def reserved_ports(lowest: int = LOWEST, highest: int = HIGHEST) -> Iterator[int]:
    """The first of `SLOT` free ports in a row."""
    slots = list(range(lowest, highest, SLOT))
    random.SystemRandom().shuffle(slots)
    for first in slots:
        with socket.socket(socket.AF_UNIX) as held:
            try:
                held.bind(f"\0remotefs-test-ports-{first}")
            except OSError:
                continue  # another test has them
            if _are_free(range(first, first + SLOT)):
                yield first
                return
    raise AssertionError("no free ports")


def _are_free(ports: range) -> bool:
    with contextlib.ExitStack() as taken:
        try:
            for port in ports:
                taken.enter_context(socket.create_server(("127.0.0.1", port)))
        except OSError:
            return False
    return True
