"""What a mount shows of a symbolic link: its target as it is, or nothing that leads out of the mount.

The one rule: under ``contain`` a target that is shown cannot lead out, whatever the other links of the mount say. The
kernel of the mounting machine follows links, so ``..`` is safe only at the beginning of a target, where it climbs real
directories: after a name it would climb from wherever that name's own link points.
"""

from __future__ import annotations

from typing import Literal

SymlinkPolicy = Literal["as-is", "contain"]


def stays_inside(target: bytes, depth: int) -> bool:
    """Whether `target` stays in the mount, read from a link whose directory lies `depth` names below the root."""
    if target.startswith(b"/"):
        return False
    below = depth
    named = False
    for part in target.split(b"/"):
        if part in (b"", b"."):
            continue
        if part != b"..":
            named = True
            continue
        below -= 1
        if named or below < 0:
            return False
    return True
