"""One directory mounted on another, in a process of its own: the agent's file operations under our FUSE adapter.

Run as ``python -m tests.mounted.server EXPORT MOUNTPOINT OPTIONS`` with the fields of `MountOptions` as JSON. Nothing
but broker and channel is left out of the whole path.
"""

from __future__ import annotations

import json
import logging
import os
import sys

from peer.agent.access_policy import AccessRules
from peer.agent.dispatcher import Dispatcher
from peer.mount.ending_signals import unheard_by_new_threads
from peer.mount.mounting import MountOptions, mount
from schema.envelope import Address
from schema.paths import parse
from tests.mounted.trial import READY

log = logging.getLogger(__name__)


@unheard_by_new_threads()
def main(export: str, mountpoint: str, options: str) -> None:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    root = parse(os.fsencode(export))
    fields = json.loads(options)
    rules = AccessRules((root,), preserve_identity=fields.get("identity") == "preserve")
    dispatcher = Dispatcher(rules, boot=1)
    try:
        mount(
            dispatcher.view(Address("laptop", os.getpid())),
            mountpoint,
            MountOptions(agent="attic", remote_path=root, **fields),
            ready=lambda _: log.info(READY),
        )
    finally:
        dispatcher.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
