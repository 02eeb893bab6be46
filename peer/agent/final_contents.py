"""Whether what is read of a file is final: the content of one version of it, for good.

The one rule: only while nobody else has the file open for writing is anything called final. Who opens it later and
writes gives it another change time. But a write(2) that is under way set that time before it began to copy, and a
shared mapping sets it once for all that it writes in half a minute: their times say nothing of their content.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import threading
import time
from typing import Final

from peer.agent import file_attributes, system_calls
from schema.attributes import FileVersion

SETTLED_NS: Final = 2_000_000_000
"""Nanoseconds after its change time in which a file may change once more without showing it: ticks of the clocks that
file systems have. Two seconds are those of the coarsest (FAT)."""
_one_lease: Final = threading.Lock()
"""Giving a lease back resets the signal of its descriptor, which other threads may be asking with."""


def settled_since(descriptor: int) -> int:
    """From when on, in nanoseconds since the epoch, whatever is read from `descriptor` is final: now, or 0 for never.

    It is of the version that the file has afterwards, if that was `SETTLED_NS` old by now.
    """
    return 0 if _has_writers(descriptor) else time.time_ns()


def settled_version(descriptor: int, since_ns: int) -> FileVersion | None:
    """The version whose content was read from `descriptor` after `settled_since`; None if it may yet be another's."""
    version = file_attributes.metadata(descriptor).version
    return version if since_ns - version.ctime_ns >= SETTLED_NS else None


def _has_writers(descriptor: int) -> bool:
    """Whether anybody else has the file open for writing: then no lease on it is to be had (F_SETLEASE of fcntl(2)).

    A read lease; or a write lease where `descriptor` may write itself, and then who reads keeps it from us, too. Where
    the kernel does not say (another user's file without CAP_LEASE, a file system without leases), False. Who opens the
    file for writing at this very moment waits until we have given the lease back, microseconds later.
    """
    reads = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
    with _one_lease:
        try:
            # The signal by which a lease is asked back: the default, SIGIO, would end this process.
            system_calls.set_signal(descriptor, signal.SIGURG)
            system_calls.set_lease(descriptor, fcntl.F_RDLCK if reads else fcntl.F_WRLCK)
        except OSError as error:
            return error.errno == errno.EAGAIN
        system_calls.set_lease(descriptor, fcntl.F_UNLCK)
    return False
