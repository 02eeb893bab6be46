"""Whether files may have got another name: link(2) tells of the new name, and not of the file's others.

The one rule: a new name is taken for that of a new file only if it is seen to be: one link, and nothing else happened
to the name until it was looked at. Its file may else have another name, whose attributes were told of by nobody.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from peer.agent.confined_root import ConfinedRoot
from peer.agent.event_names import EventNames
from peer.agent.inotify import Inotify
from peer.agent.watched_tree import Path, WatchedTree

_MOST: Final = 64
"""Names that are looked at; more are taken for links."""


def links_made(names: EventNames, tree: WatchedTree, roots: Mapping[Path, ConfinedRoot], inotify: Inotify) -> bool:
    """Whether some of `names` may be links; to be asked when `tree` knows of all else that they tell."""
    if not names.made:
        return False
    if not names.made_once or len(names.made) > _MOST:
        return True
    for watch, name in names.made:
        directory = tree.watched(watch)
        if directory is None:
            return True
        export, below = tree.export_of(directory)
        try:
            with roots[export].object((*below, name)) as descriptor:
                if os.fstat(descriptor).st_nlink != 1:
                    return True
        except OSError:
            return True
    return inotify.pending()
