"""A mount in whose own process a thread waits for it and is never answered; run as `tests.mounted.server` is.

What libfuse does when it is told to end while it reads a request, this does at any time: it reads one and leaves it.
"""

from __future__ import annotations

import logging
import os
import struct
import sys
import threading
from pathlib import Path

from peer.agent.access_policy import AccessRules
from peer.agent.dispatcher import Dispatcher
from peer.mount.ending_signals import unheard_by_new_threads
from peer.mount.mounting import MountOptions, mount
from schema.envelope import Address
from schema.limits import MAX_DATA
from schema.paths import parse
from tests.mounted.trial import DEVICE, READY

log = logging.getLogger(__name__)

_LOOKUP = 1
_HEADER = struct.Struct("=II")
"""Length and kind, with which a request begins."""


def leave_a_request() -> None:
    """Read requests until one of them is a question for a name."""
    kept = os.dup(next(int(each.name) for each in Path("/proc/self/fd").iterdir() if leads_to_the_device(each)))
    while _HEADER.unpack_from(os.read(kept, MAX_DATA + 4096))[1] != _LOOKUP:
        pass
    log.info(READY)


def leads_to_the_device(descriptor: Path) -> bool:
    """Other threads open and close theirs meanwhile."""
    try:
        return descriptor.samefile(DEVICE)
    except FileNotFoundError:
        return False


def ask(root: int) -> None:
    """Ask for one name after another, until a question is not answered."""
    number = 0
    while True:
        number += 1
        try:
            os.stat(f"name-{number}", dir_fd=root)
        except FileNotFoundError:
            continue
        except OSError as failure:
            log.info("nobody is waited for any more: %s", failure)
            return


@unheard_by_new_threads()
def main(export: str, mountpoint: str, _options: str) -> None:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    root = parse(os.fsencode(export))
    dispatcher = Dispatcher(AccessRules((root,), preserve_identity=False), boot=1)

    def hold_up(_: object) -> None:
        threading.Thread(target=leave_a_request, daemon=True).start()
        threading.Thread(target=lambda: ask(os.open(mountpoint, os.O_PATH)), daemon=True).start()

    options = MountOptions(agent="attic", remote_path=root)
    mount(dispatcher.view(Address("laptop", os.getpid())), mountpoint, options, ready=hold_up)
    os._exit(0)  # as `peer.mount` does


if __name__ == "__main__":
    main(*sys.argv[1:])
