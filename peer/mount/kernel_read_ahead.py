"""How far ahead the kernel reads files of the mount.

The one rule: it is a wish. libfuse can only lower what the kernel begins with, 128 KiB; raising it takes the right to
write to sysfs, which root has, and without it reading goes on in smaller pieces.
"""

from __future__ import annotations

import contextlib
import logging
import os
from typing import Final

from schema.limits import MAX_DATA

log = logging.getLogger(__name__)

_SETTING: Final = "/sys/class/bdi/{device}/read_ahead_kb"


def widen(device: str, setting: str = _SETTING) -> bool:
    """Let the kernel ask for whole transfers (`MAX_DATA`) of the mount numbered `device` ("major:minor").

    Whether it does.
    """
    path = setting.format(device=device)
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, b"%d" % (MAX_DATA // 1024))
            return True
        finally:
            os.close(descriptor)
    log.debug("%s cannot be written: the kernel reads ahead as far as it does by default", path)
    return False
